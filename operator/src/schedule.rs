//! When a schedule falls due. Pure: the clock is an argument everywhere.
//!
//! A *slot* is an instant at which a cron expression, read in its zone, asks for a run. The slots of one timetable are a
//! strictly increasing sequence, and [`Timetable::next_after`] and [`Timetable::latest_at`] walk the same sequence, so
//! "what comes next" and "what was missed" can never disagree. Both are computed directly: an operator that slept for a
//! year pays for one search, not for a year of slots.
//!
//! Where clocks change, the rule is vixie cron's:
//! * hour and minute both fixed (`30 2 * * *`, `0 2,14 * * MON`): a slot inside the hour that is skipped runs once, at the
//!   first instant after it; one inside the hour that repeats runs once, the first time;
//! * a wildcard in hour or minute (`*/15 * * * *`): the schedule follows elapsed time, so nothing runs in the hour that
//!   does not exist and the repeated hour is served twice, at distinct instants.

use croner::Cron;
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};
use lakegate_crds::ScheduleSpec;
use sha2::{Digest, Sha256};

/// Slots counted as missed in one go; past this the count saturates, so that a long sleep under `* * * * *` costs nothing.
pub const MISSED_COUNT_LIMIT: u64 = 1000;

/// A cron expression read in a zone.
#[derive(Debug, Clone)]
pub struct Timetable {
    cron: Cron,
    zone: TimeZone,
    /// Neither hour nor minute is a wildcard: see the module's rule for clock changes.
    fixed: bool,
}

impl Timetable {
    /// A cron expression, read in a zone.
    pub fn new(cron: &lakegate_crds::Cron, zone: TimeZone) -> Self {
        let text = cron.as_str().trim();
        let fixed = if text.starts_with('@') {
            !text.eq_ignore_ascii_case("@hourly")
        } else {
            text.split_whitespace().take(2).all(|field| !field.contains('*'))
        };
        Self {
            cron: cron.pattern().clone(),
            zone,
            fixed,
        }
    }

    /// First slot strictly after `instant`; `None` when the expression names no date at all (30 February).
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let instant = whole_second(instant);
        if !self.fixed {
            return self
                .cron
                .find_next_occurrence(&instant.to_zoned(self.zone.clone()), false)
                .ok()
                .map(|found| found.timestamp());
        }
        // A wall-clock time whose slot lies after `instant` reads later than the clock at `instant` did: the slot of a
        // skipped time is the end of the gap, that of a repeated time its first pass. So the search starts at the clock
        // and passes over only what a repeated hour has already served.
        let mut clock = self.zone.to_datetime(instant);
        loop {
            clock = self.cron.find_next_occurrence(&clock, false).ok()?;
            let slot = self.slot_of(clock)?;
            if slot > instant {
                return Some(slot);
            }
        }
    }

    /// Newest slot at or before `instant`.
    pub fn latest_at(&self, instant: Timestamp) -> Option<Timestamp> {
        let instant = whole_second(instant);
        if !self.fixed {
            return self
                .cron
                .find_previous_occurrence(&instant.to_zoned(self.zone.clone()), true)
                .ok()
                .map(|found| found.timestamp());
        }
        let mut clock = self.zone.to_datetime(instant);
        // On the second pass of a repeated hour, times the clock shows only later were already served on the first.
        if let AmbiguousOffset::Fold { before, after } = self.zone.to_ambiguous_timestamp(clock).offset()
            && self.zone.to_offset(instant) == after
        {
            let repeated = i64::from(before.seconds()) - i64::from(after.seconds());
            clock = clock.checked_add(SignedDuration::from_secs(repeated)).ok()?;
        }
        let mut inclusive = true;
        loop {
            clock = self.cron.find_previous_occurrence(&clock, inclusive).ok()?;
            inclusive = false;
            let slot = self.slot_of(clock)?;
            if slot <= instant {
                return Some(slot);
            }
        }
    }

    /// Whether `instant` is a slot of this timetable.
    pub fn is_slot(&self, instant: Timestamp) -> bool {
        self.latest_at(instant) == Some(instant)
    }

    /// The instant at which a wall-clock time of a fixed schedule is served. Monotone in `clock`.
    fn slot_of(&self, clock: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(clock);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
            // The end of the gap is the zone's transition: the first one after an instant surely before it.
            AmbiguousOffset::Gap { .. } => {
                let before = ambiguous.earlier().ok()?;
                self.zone
                    .following(before)
                    .next()
                    .map(|transition| transition.timestamp())
            }
        }
    }
}

/// Slots carry no fraction of a second, nor may the searches.
fn whole_second(instant: Timestamp) -> Timestamp {
    // Flooring keeps `<=` and `>` against whole-second slots; also before 1970.
    let floored = instant.as_nanosecond().div_euclid(1_000_000_000);
    Timestamp::from_second(floored as i64).unwrap_or(instant)
}

/// How far into `jitter` the runs of the object with this uid start after their slot: the same for ever, spread evenly
/// over uids, so that a hundred daily exports do not all knock at midnight.
pub fn jitter_offset(uid: &str, jitter: SignedDuration) -> SignedDuration {
    let span = jitter.as_secs();
    if span <= 0 {
        return SignedDuration::ZERO;
    }
    let digest = Sha256::digest(uid.as_bytes());
    let mut head = [0_u8; 8];
    head.copy_from_slice(&digest[..8]);
    SignedDuration::from_secs((u64::from_be_bytes(head) % span.unsigned_abs()) as i64)
}

/// A timetable with the rules that turn its slots into starts.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The slots.
    pub timetable: Timetable,

    /// How late a slot may still start; absent: any lateness.
    pub starting_deadline: Option<SignedDuration>,

    /// Start of a run after its slot, from [`jitter_offset`].
    pub offset: SignedDuration,
}

/// What a schedule asks for at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The one slot that should be running by now. Older ones that nobody served are in `missed`: there is at most one
    /// catch-up, however long the operator slept.
    pub due: Option<Due>,

    /// Slots passed over for good: superseded by `due`, or too late by `starting_deadline`. At most
    /// [`MISSED_COUNT_LIMIT`] + 1 are counted.
    pub missed: u64,

    /// First slot not yet decided about when `due` is served: the new promise.
    pub next: Option<Timestamp>,
}

/// A slot whose run should be running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The slot.
    pub slot: Timestamp,

    /// Older slots were passed over, so this run catches up.
    pub catch_up: bool,
}

impl Schedule {
    /// The schedule of the object with this uid.
    ///
    /// # Errors
    ///
    /// In words, when cron or zone is not valid; validation refuses such a manifest earlier.
    pub fn of(spec: &ScheduleSpec, uid: &str) -> Result<Self, String> {
        let cron = spec
            .parse()
            .map_err(|error| format!("spec.schedule.cron: {error}"))?;
        let zone = spec
            .zone()
            .map_err(|error| format!("spec.schedule.timeZone: {error}"))?;
        let jitter = SignedDuration::try_from(spec.jitter()).unwrap_or(SignedDuration::MAX);
        Ok(Self {
            timetable: Timetable::new(&cron, zone),
            starting_deadline: spec.starting_deadline_seconds.map(SignedDuration::from_secs),
            offset: jitter_offset(uid, jitter),
        })
    }

    /// What is due at `now`.
    ///
    /// `promised` is the first slot not yet served (what [`Outlook::next`] was when it was last recorded). Absent, or no
    /// slot of this timetable (the schedule was edited), nothing in the past is owed: a new, edited or resumed schedule
    /// begins with its next slot.
    pub fn outlook(&self, promised: Option<Timestamp>, now: Timestamp) -> Outlook {
        let reached = now.checked_sub(self.offset).unwrap_or(now);
        let next = self.timetable.next_after(reached);
        let nothing = Outlook {
            due: None,
            missed: 0,
            next,
        };
        let Some(promised) = promised.filter(|slot| self.timetable.is_slot(*slot)) else {
            return nothing;
        };
        let Some(latest) = self.timetable.latest_at(reached).filter(|slot| *slot >= promised) else {
            // Still ahead, and it stays the promise even when the clock went backwards behind older slots.
            return Outlook {
                next: Some(promised),
                ..nothing
            };
        };
        let superseded = self.count_slots(promised, latest);
        let too_late = self
            .starting_deadline
            .is_some_and(|deadline| reached.duration_since(latest) > deadline);
        if too_late {
            return Outlook {
                missed: superseded + 1,
                ..nothing
            };
        }
        Outlook {
            due: Some(Due {
                slot: latest,
                catch_up: superseded > 0,
            }),
            missed: superseded,
            next,
        }
    }

    /// When a slot's run starts.
    pub fn start_of(&self, slot: Timestamp) -> Timestamp {
        slot.checked_add(self.offset).unwrap_or(slot)
    }

    /// Slots in `from..until`, at most [`MISSED_COUNT_LIMIT`].
    fn count_slots(&self, from: Timestamp, until: Timestamp) -> u64 {
        let mut count = 0;
        let mut slot = from;
        while slot < until && count < MISSED_COUNT_LIMIT {
            count += 1;
            match self.timetable.next_after(slot) {
                Some(following) => slot = following,
                None => break,
            }
        }
        count
    }
}

#[cfg(test)]
mod tests;
