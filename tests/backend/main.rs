//! The client of the backend against real HTTP servers, and the simulated backend against its own rules.

mod client;
mod odd_answers;
mod simulator;
