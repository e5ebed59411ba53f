//! Owns what happens after a membership automation failed.
