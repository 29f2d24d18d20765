//! Lake tables on a real directory, and on stores that fail in every way a store can.

mod commit;
mod evolution;
mod faults;
mod readers;
mod reading;
mod roundtrip;
mod support;
