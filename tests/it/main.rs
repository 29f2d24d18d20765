//! Lakegate as its users run it: the binary, over real folders, with psql and drivers.

mod cli;
mod edits;
mod faults;
mod flights;
mod layering;
mod support;
