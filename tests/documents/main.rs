//! What is written beside the code says what the code does: the page of events, the keys of the configuration, the page of
//! measurements.

mod configuration;
mod current;
mod performance;
