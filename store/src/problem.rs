use lakegate_crds::conditions::Reason;

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// `spec.schedule.cron`; empty for the whole object.
    pub field: String,

    pub message: String,

    pub reason: Reason,
}
