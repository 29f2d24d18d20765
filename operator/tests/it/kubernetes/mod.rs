//! Jobs on a real API server with its controllers; the tests play the scheduler and the kubelet.

mod ends;
mod fixture;
mod kubelet;
mod lives;
mod whole;
