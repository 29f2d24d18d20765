//! The operator as a whole: the loop over a store in memory with workers of the tests' making, and real child processes.

mod crash;
mod harness;
mod process;
mod runs;
mod status;
