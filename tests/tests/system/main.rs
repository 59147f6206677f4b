//! What the whole system promises, tried through its front doors against the simulator.

mod crash;
mod feed;
mod github;
mod ingress;
mod lifecycle;
mod limits;
mod shutdown;
mod trace;
