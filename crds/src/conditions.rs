//! The vocabulary of status: condition types and reasons. They are part of the API: people and
//! programs match on them, so every one in the project is a variant here and a golden file in
//! the tests lists them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Declares an enum whose variants are written as their own names.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $name {
            /// Every one, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word as it stands in a status.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|it| it.as_str() == text)
                    .ok_or_else(|| UnknownWord { word: text.to_owned() })
            }
        }
    };
}

/// A word that this version does not know; a status may have been written by another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is not a known condition type or reason")]
pub struct UnknownWord {
    pub word: String,
}

vocabulary! {
    /// Types of conditions.
    ConditionType {
        /// The resource does what its spec says. Unknown while it is being worked on.
        Ready,
        /// Abnormal-true: Lakegate still works towards the spec.
        Reconciling,
        /// Abnormal-true: nothing will change until a person acts.
        Stalled,
        /// Abnormal-true: out of service by the user's wish.
        Suspended,
        /// DataSource: the store answers.
        Reachable,
        /// DataSource: the tables offered are those of the last discovery.
        CatalogSynced,
        /// Export, RetentionPolicy: the newest ended run succeeded.
        LastRunSucceeded,
        /// Export, abnormal-true: columns that look personal are published in the clear.
        PersonalDataUnmasked,
        /// ExportRun: ended well.
        Complete,
        /// ExportRun: ended badly.
        Failed,
    }
}

vocabulary! {
    /// Reasons of conditions, notices and refusals.
    Reason {
        // at work
        /// First checks are under way.
        Progressing,
        /// A transient failure is being retried.
        Retrying,
        /// Out of service by the user's wish.
        Suspended,
        /// A run is active.
        Running,
        /// A run waits for its turn.
        Pending,

        // as it should be
        /// DataSource, View: in service.
        Available,
        /// Export, RetentionPolicy: the next run is known.
        Scheduled,
        /// Export, RetentionPolicy: runs start only on request.
        OnRequest,
        /// Tables and columns were read.
        Discovered,
        /// The store answered.
        Connected,
        /// The last run succeeded.
        Succeeded,
        /// There has been no run yet.
        NeverRun,

        // needs a person: the spec
        /// The manifest is not valid.
        InvalidSpec,
        /// The manifest uses a field or kind that this version does not serve.
        NotImplemented,
        /// Another, older resource has the name.
        NameConflict,
        /// Another, older resource writes the lake table.
        TableNameConflict,
        /// The same object stands in two files.
        DuplicateObject,
        /// The text of a manifest could not be read.
        Unreadable,
        /// A resource that is referred to does not exist.
        DependencyNotFound,
        /// A resource that is referred to is not in service.
        DependencyNotReady,
        /// The view's query, or the export's, cannot be planned.
        PlanFailed,
        /// A column that is named does not exist.
        ColumnNotFound,
        /// A table that is named does not exist.
        TableNotFound,

        // needs a person: access
        /// The store refused the credentials or the access.
        AccessDenied,
        /// A Secret that is referred to does not exist.
        SecretNotFound,
        /// A Secret lacks the key that is referred to.
        SecretKeyMissing,
        /// A Secret holds something else than what it is referred to for.
        SecretInvalid,
        /// The store's certificate could not be verified, or TLS failed otherwise.
        TlsFailed,
        /// A file, directory or bucket does not exist.
        PathNotFound,

        // may pass
        /// The store could not be reached.
        ConnectionFailed,
        /// The store did not answer in time.
        Timeout,
        /// The store has too many connections.
        TooManyConnections,
        /// No replica is within its lag.
        ReplicaLagging,
        /// Tables and columns could not be read.
        DiscoveryFailed,
        /// The source of an export is not in service.
        SourceNotReady,
        /// The lake of an export is not in service.
        DestinationNotReady,

        // deletion
        /// The object is being deleted, and something has to be done before it is gone.
        Deleting,
        /// The lake table of a deleted export was removed.
        TableDeleted,
        /// The lake table of a deleted export stays, although its manifest says otherwise.
        TableKept,

        // how runs end
        /// A run failed for a reason that has no word of its own.
        RunFailed,
        /// A run took longer than its timeout.
        DeadlineExceeded,
        /// The worker vanished.
        WorkerLost,
        /// The worker could not be started.
        WorkerStartFailed,
        /// A newer run took its place.
        Replaced,
        /// A person ended the run.
        Canceled,
        /// The Export was deleted.
        ExportDeleted,
        /// The run reached the limit of its memory.
        OutOfMemory,
        /// One value is larger than 64 MiB.
        ValueTooLarge,
        /// A value does not fit the type it is exported as.
        ValueNotRepresentable,
        /// A value could not be cast.
        CastFailed,
        /// The source could not be read.
        ReadFailed,
        /// The lake could not be written.
        WriteFailed,
        /// The disk is full.
        StorageFull,
        /// Another writer published first.
        CommitConflict,
        /// The source's columns changed in a way that cannot be published.
        SchemaChanged,
        /// Two exported columns have one name.
        ColumnNameConflict,
        /// A source column is left out because it is new.
        NewColumnDropped,
        /// A slot of the schedule was not run.
        MissedSchedule,
        /// A condition of `assert` was not met.
        AssertionFailed,
        /// A column that is neither masked nor acknowledged looks personal.
        LooksPersonal,

        // retention
        /// A policy acts.
        Active,
        /// A policy only reports.
        DryRun,
        /// A pass would remove more than is allowed.
        DeletionGuard,

        // Lakegate itself
        /// A fault of Lakegate.
        InternalError,
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    /// The word as it stands in a status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Operations on a list of conditions.
pub trait ConditionsExt {
    /// The condition of a type.
    fn find(&self, condition_type: ConditionType) -> Option<&Condition>;

    /// Whether a condition is there and True.
    fn is_true(&self, condition_type: ConditionType) -> bool {
        self.find(condition_type)
            .is_some_and(|it| it.status == ConditionStatus::True.as_str())
    }

    /// Whether a condition is there and False.
    fn is_false(&self, condition_type: ConditionType) -> bool {
        self.find(condition_type)
            .is_some_and(|it| it.status == ConditionStatus::False.as_str())
    }
}

/// Changes of a list of conditions.
pub trait ConditionsMut: ConditionsExt {
    /// Sets one condition. `lastTransitionTime` becomes `now`, cut to the second as the API
    /// stores it, only where the status flips.
    fn set(
        &mut self,
        now: Timestamp,
        condition_type: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
        observed_generation: i64,
    );

    /// Removes one condition: an abnormal-true one that holds no more.
    fn unset(&mut self, condition_type: ConditionType);
}

impl ConditionsExt for [Condition] {
    fn find(&self, condition_type: ConditionType) -> Option<&Condition> {
        self.iter().find(|it| it.type_ == condition_type.as_str())
    }
}

impl ConditionsExt for Vec<Condition> {
    fn find(&self, condition_type: ConditionType) -> Option<&Condition> {
        self.as_slice().find(condition_type)
    }
}

impl ConditionsMut for Vec<Condition> {
    fn set(
        &mut self,
        now: Timestamp,
        condition_type: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
        observed_generation: i64,
    ) {
        let status = status.into().as_str();
        let mut message = message.into();
        truncate(&mut message);
        let existing = self.iter_mut().find(|it| it.type_ == condition_type.as_str());
        let last_transition_time = match &existing {
            Some(it) if it.status == status => it.last_transition_time.clone(),
            _ => time(now),
        };
        let condition = Condition {
            type_: condition_type.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message,
            observed_generation: Some(observed_generation),
            last_transition_time,
        };
        match existing {
            Some(it) => *it = condition,
            None => self.push(condition),
        }
    }

    fn unset(&mut self, condition_type: ConditionType) {
        self.retain(|it| it.type_ != condition_type.as_str());
    }
}

/// Longest message of a condition, by the schema of `metav1.Condition`.
const MESSAGE_MAX_LENGTH: usize = 32768;

fn truncate(message: &mut String) {
    if message.len() > MESSAGE_MAX_LENGTH {
        let end = message.floor_char_boundary(MESSAGE_MAX_LENGTH - '…'.len_utf8());
        message.truncate(end);
        message.push('…');
    }
}

/// A time as the API stores it: whole seconds. Comparing a status with one that was stored would
/// else always find a difference.
pub fn time(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_only_on_flips() {
        let mut conditions = Vec::new();
        conditions.set(
            at(10),
            ConditionType::Ready,
            ConditionStatus::Unknown,
            Reason::Progressing,
            "checking",
            1,
        );
        conditions.set(
            at(20),
            ConditionType::Ready,
            true,
            Reason::Scheduled,
            "next run at noon",
            1,
        );
        conditions.set(at(30), ConditionType::Ready, true, Reason::OnRequest, "", 2);
        let ready = conditions.find(ConditionType::Ready).unwrap();
        assert_eq!(ready.last_transition_time, time(at(20)));
        assert_eq!(
            (ready.reason.as_str(), ready.observed_generation),
            ("OnRequest", Some(2))
        );
        assert!(conditions.is_true(ConditionType::Ready) && !conditions.is_false(ConditionType::Ready));
        conditions.set(at(40), ConditionType::Ready, false, Reason::InvalidSpec, "x", 3);
        assert_eq!(
            conditions
                .find(ConditionType::Ready)
                .unwrap()
                .last_transition_time,
            time(at(40))
        );
        conditions.unset(ConditionType::Ready);
        assert!(conditions.is_empty());
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let mut conditions = Vec::new();
        conditions.set(
            at(1),
            ConditionType::Ready,
            false,
            Reason::InternalError,
            "é".repeat(40_000),
            1,
        );
        let message = &conditions[0].message;
        assert!(message.len() <= MESSAGE_MAX_LENGTH && message.ends_with('…'));
    }

    #[test]
    fn words_read_back() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>().unwrap(), *reason);
        }
        assert!("Nonsense".parse::<Reason>().is_err());
    }
}
