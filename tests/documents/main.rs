//! What is written beside the code says what the code does: the page of events, the keys of the configuration, the page of
//! measurements, the tests that the page of security names.

mod configuration;
mod current;
mod deploy;
mod events;
mod migrations;
mod monitoring;
mod performance;
mod security;
