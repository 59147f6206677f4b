//! What the whole system promises, tried through its front doors against the simulator.

mod chaos;
mod crash;
mod feed;
mod github;
mod ingress;
mod jira;
mod lifecycle;
mod limits;
mod plans;
mod shutdown;
mod slack;
mod slack_organization;
mod slack_person;
mod trace;
