//! What people did, counted: which app to fix first, and the evidence of a month.

pub mod evidence;
pub mod period;
pub mod store;
pub mod work;
