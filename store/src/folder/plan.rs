//! From what the folder asks for and what the state knows to what is to be known. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use lakegate_crds::conditions::Reason;
use lakegate_crds::validation::{Problem, validate};
use lakegate_crds::{AnyResource, Kind};

use super::{
    desired::{Desired, FileProblem, Found, duplicate_message, problem},
    scan::Scan,
};
use crate::{Key, Rejected, object::creation_time, state::ObjectRecord};

/// What a scan changes.
#[derive(Default)]
pub(crate) struct Plan {
    /// Records that are new or differ from the state's, statuses aside.
    pub changed: Vec<ObjectRecord>,

    /// The good version of each living object, by uid.
    pub resources: HashMap<String, AnyResource>,

    /// Everything that is wrong, in the order of files.
    pub problems: Vec<FileProblem>,

    /// Whether an object vanishes or an edit is refused: what a half-written file looks like.
    pub is_destructive: bool,
}

/// When the folder was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub now: Timestamp,

    /// How long the manifest of a held object may be away before its deletion takes effect.
    pub grace: SignedDuration,
}

impl Moment {
    /// When the deletion of an object that is found absent now takes effect.
    fn deletion(self) -> Timestamp {
        self.now.checked_add(self.grace).unwrap_or(Timestamp::MAX)
    }
}

/// `resources` are those of the plan before: an unchanged manifest is not validated again.
pub(crate) fn plan(
    scan: &Scan,
    desired: &Desired,
    records: &BTreeMap<String, ObjectRecord>,
    resources: &HashMap<String, AnyResource>,
    moment: Moment,
    mut new_uid: impl FnMut() -> String,
) -> Plan {
    let Moment { now, .. } = moment;
    let mut plan = Plan {
        problems: desired.problems.clone(),
        ..Plan::default()
    };
    let mut living: BTreeMap<(Kind, Key), &ObjectRecord> = BTreeMap::new();
    let mut vanished: BTreeMap<(Kind, Key), &ObjectRecord> = BTreeMap::new();
    for record in records.values() {
        let at = (record.kind, record.key.clone());
        match record.vanished.filter(|_| !record.is_shown()) {
            None => {
                living.insert(at, record);
            }
            // The one that went last is the one that comes back.
            Some(time) => {
                let newest = vanished.entry(at).or_insert(record);
                if newest.vanished < Some(time) {
                    *newest = record;
                }
            }
        }
    }
    let wanted = desired
        .objects
        .keys()
        .filter(|(kind, _)| *kind != Kind::ExportRun);
    let all: BTreeSet<&(Kind, Key)> = wanted.chain(living.keys()).collect();
    for at in all {
        let old = living.get(at).copied();
        let found = desired.objects.get(at).map(Vec::as_slice).unwrap_or_default();
        let leaving = old.filter(|old| old.vanished.is_some());
        let next = match (found, leaving) {
            ([], _) => {
                let Some(old) = old else { continue };
                Some(absent(scan, desired, old, moment))
            }
            (found, Some(old)) if old.is_lost(now) => {
                plan.problems.extend(found.iter().map(|found| waits(found, old)));
                Some(old.clone())
            }
            ([found], Some(old)) => {
                let (record, resource, problems) = returned(found, old);
                plan.problems.extend(problems);
                if let Some(resource) = resource {
                    plan.resources.insert(record.uid.clone(), resource);
                }
                Some(record)
            }
            ([found], None) => {
                let cached = old.and_then(|old| resources.get(&old.uid));
                let (record, resource, problems) = present(
                    at,
                    found,
                    old,
                    vanished.get(at).copied(),
                    cached,
                    now,
                    &mut new_uid,
                );
                plan.problems.extend(problems);
                if let Some(resource) = resource {
                    plan.resources.insert(record.uid.clone(), resource);
                }
                Some(record)
            }
            (several, _) => {
                let (record, problems) =
                    conflict(at, several, old.or(vanished.get(at).copied()), now, &mut new_uid);
                plan.problems.extend(problems);
                record
            }
        };
        let Some(record) = next else { continue };
        // An object that keeps its last good version keeps its resource too.
        if record.is_shown()
            && let Some(manifest) = &record.manifest
            && !plan.resources.contains_key(&record.uid)
        {
            let kept = resources
                .get(&record.uid)
                .cloned()
                .or_else(|| validate(manifest, None).ok());
            if let Some(resource) = kept {
                plan.resources.insert(record.uid.clone(), resource);
            }
        }
        let before = records.get(&record.uid);
        if before != Some(&record) {
            plan.is_destructive |= record.vanished.is_some()
                || record.rejected.is_some()
                    && before.is_none_or(|before| before.rejected != record.rejected);
            plan.changed.push(record);
        }
    }
    plan.problems.sort_by(|left, right| {
        (&left.file, left.line, &left.field).cmp(&(&right.file, right.line, &right.field))
    });
    plan
}

/// No document defines the object: gone, unless it may stand where we cannot see.
fn absent(scan: &Scan, desired: &Desired, old: &ObjectRecord, moment: Moment) -> ObjectRecord {
    let mut record = old.clone();
    if record.is_lost(moment.now) {
        return record;
    }
    let files = [Some(&old.place), old.good_place.as_ref()];
    for file in files.into_iter().flatten().map(|place| place.file.as_str()) {
        let hidden = scan
            .is_hidden(file)
            .map(|message| (file.to_owned(), Problem::new("", Reason::Unreadable, message)))
            .or_else(|| {
                desired
                    .broken
                    .get(file)
                    .map(|broken| (broken.origin(file), broken.problem.clone()))
            });
        if let Some((origin, problem)) = hidden {
            record.rejected = Some(Rejected {
                problems: vec![problem],
                origin,
            });
            record.vanished = None;
            record.deletion = None;
            return record;
        }
    }
    record.rejected = None;
    if record.vanished.is_none() {
        record.vanished = Some(moment.now);
        record.deletion = record.held.then(|| moment.deletion());
    }
    record
}

/// A document has the name of a held object whose manifest was gone, and whose deletion has not taken effect: the object
/// is back, unless what comes is another one.
fn returned(found: &Found, old: &ObjectRecord) -> (ObjectRecord, Option<AnyResource>, Vec<FileProblem>) {
    let value = &found.document.value;
    let mut record = ObjectRecord {
        place: found.place.clone(),
        vanished: None,
        deletion: None,
        ..old.clone()
    };
    match (validate(value, old.manifest.as_ref()), validate(value, None)) {
        (Ok(resource), _) => {
            accept(&mut record, found, &resource);
            (record, Some(resource), Vec::new())
        }
        // Of another object, too: its immutable fields differ.
        (Err(_), Ok(_)) => (old.clone(), None, vec![waits(found, old)]),
        (Err(problems), Err(_)) => {
            let reported = refuse(&mut record, found, problems);
            (record, None, reported)
        }
    }
}

/// What is said of a document whose name an object has that is being deleted.
fn waits(found: &Found, old: &ObjectRecord) -> FileProblem {
    let (kind, key) = (old.kind.to_string(), old.key.to_string());
    problem(
        &found.place.file,
        found.document.line_of("metadata.name"),
        (&kind, &key),
        "metadata.name",
        format!(
            "the {kind} that had this name before is being deleted; this one is taken in when that is gone"
        ),
        Reason::Deleting,
    )
}

fn present(
    at: &(Kind, Key),
    found: &Found,
    old: Option<&ObjectRecord>,
    vanished: Option<&ObjectRecord>,
    cached: Option<&AnyResource>,
    now: Timestamp,
    new_uid: &mut impl FnMut() -> String,
) -> (ObjectRecord, Option<AnyResource>, Vec<FileProblem>) {
    let value = &found.document.value;
    if let (Some(old), Some(resource)) = (old, cached)
        && old.manifest.as_ref() == Some(value)
    {
        let mut record = old.clone();
        record.place = found.place.clone();
        record.good_place = Some(found.place.clone());
        record.rejected = None;
        return (record, Some(resource.clone()), Vec::new());
    }
    let Some(old) = old else {
        return appear(at, found, vanished, now, new_uid);
    };
    let mut record = old.clone();
    record.place = found.place.clone();
    match validate(value, old.manifest.as_ref()) {
        Ok(resource) => {
            accept(&mut record, found, &resource);
            (record, Some(resource), Vec::new())
        }
        Err(problems) => {
            let reported = refuse(&mut record, found, problems);
            (record, None, reported)
        }
    }
}

/// A living record begins: one that vanished comes back, unless what comes is another object of the same name.
fn appear(
    at: &(Kind, Key),
    found: &Found,
    vanished: Option<&ObjectRecord>,
    now: Timestamp,
    new_uid: &mut impl FnMut() -> String,
) -> (ObjectRecord, Option<AnyResource>, Vec<FileProblem>) {
    let value = &found.document.value;
    let checked = validate(value, None);
    // Immutable fields changed while it was away: as with any API, deleted and made anew is a new object.
    let returning = vanished.filter(|old| {
        checked.is_err()
            || old
                .manifest
                .as_ref()
                .is_none_or(|manifest| validate(value, Some(manifest)).is_ok())
    });
    let mut record = match returning {
        Some(old) => ObjectRecord {
            place: found.place.clone(),
            vanished: None,
            rejected: None,
            ..old.clone()
        },
        None => blank(at, found, now, new_uid),
    };
    match checked {
        Ok(resource) => {
            accept(&mut record, found, &resource);
            (record, Some(resource), Vec::new())
        }
        Err(problems) => {
            // It was gone: an invalid document does not bring the old version back to life.
            record.manifest = None;
            record.good_place = None;
            let reported = refuse(&mut record, found, problems);
            (record, None, reported)
        }
    }
}

fn blank(
    at: &(Kind, Key),
    found: &Found,
    now: Timestamp,
    new_uid: &mut impl FnMut() -> String,
) -> ObjectRecord {
    ObjectRecord {
        kind: at.0,
        key: at.1.clone(),
        uid: new_uid(),
        generation: 0,
        created: creation_time(now),
        manifest: None,
        place: found.place.clone(),
        good_place: None,
        rejected: None,
        status: None,
        vanished: None,
        held: false,
        deletion: None,
        deletion_is_final: false,
    }
}

fn accept(record: &mut ObjectRecord, found: &Found, resource: &AnyResource) {
    let value = &found.document.value;
    let is_same_spec = record.manifest.as_ref().is_some_and(|manifest| {
        manifest.get("spec") == value.get("spec")
            || super::typed::decode(record.kind, manifest)
                .is_some_and(|old| super::typed::spec(&old) == super::typed::spec(resource))
    });
    if !is_same_spec {
        record.generation += 1;
    }
    record.manifest = Some(value.clone());
    record.good_place = Some(found.place.clone());
    record.rejected = None;
}

fn refuse(record: &mut ObjectRecord, found: &Found, problems: Vec<Problem>) -> Vec<FileProblem> {
    let line = |field: &str| found.document.line_of(field);
    let file = &found.place.file;
    let reported = problems
        .iter()
        .map(|wrong| {
            let named = (record.kind.to_string(), record.key.to_string());
            problem(
                file,
                line(&wrong.field),
                (&named.0, &named.1),
                &wrong.field,
                wrong.message.clone(),
                wrong.reason,
            )
        })
        .collect();
    let first = problems
        .first()
        .map_or(found.place.line, |wrong| line(&wrong.field));
    record.rejected = Some(Rejected {
        problems,
        origin: format!("{file}:{first}"),
    });
    reported
}

/// Several documents define the object: none is applied, the last good version stays if there was one.
fn conflict(
    at: &(Kind, Key),
    several: &[Found],
    old: Option<&ObjectRecord>,
    now: Timestamp,
    new_uid: &mut impl FnMut() -> String,
) -> (Option<ObjectRecord>, Vec<FileProblem>) {
    let Some(first) = several.iter().min_by(|left, right| left.place.cmp(&right.place)) else {
        return (None, Vec::new());
    };
    let message = duplicate_message(at.0.as_str(), &at.1, several.iter().map(|found| &found.place));
    let mut record = old.cloned().unwrap_or_else(|| blank(at, first, now, new_uid));
    // One that is held never stopped being there.
    if record.vanished.take().is_some() && !record.held {
        record.manifest = None;
        record.good_place = None;
    }
    record.deletion = None;
    record.place = first.place.clone();
    record.rejected = Some(Rejected {
        problems: vec![Problem::new(
            "metadata.name",
            Reason::DuplicateObject,
            message.clone(),
        )],
        origin: first.place.to_string(),
    });
    let named = (record.kind.to_string(), record.key.to_string());
    let reported = several
        .iter()
        .map(|found| {
            problem(
                &found.place.file,
                found.document.line_of("metadata.name"),
                (&named.0, &named.1),
                "metadata.name",
                message.clone(),
                Reason::DuplicateObject,
            )
        })
        .collect();
    (Some(record), reported)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::folder::scan;

    /// What an object's file holds at one look.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum File {
        Absent,
        Good(u8),
        Invalid,
        Broken,
    }

    fn text(name: &str, file: File) -> Option<String> {
        let manifest = |field: &str, value: u8| {
            format!(
                "apiVersion: lakegate.dev/v1alpha1\nkind: DataSource\nmetadata: {{name: {name}}}\nspec: {{sqlite: {{{field}: p{value}.db}}}}\n"
            )
        };
        match file {
            File::Absent => None,
            File::Good(value) => Some(manifest("path", value)),
            File::Invalid => Some(manifest("pth", 0)),
            File::Broken => Some("kind: [".to_owned()),
        }
    }

    fn looks() -> impl Strategy<Value = Vec<[File; 2]>> {
        let file = prop_oneof![
            Just(File::Absent),
            (0..3_u8).prop_map(File::Good),
            Just(File::Invalid),
            Just(File::Broken)
        ];
        prop::collection::vec([file.clone(), file], 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Over any history of two files: what runs is the newest good version since the object last appeared,
        /// identity never changes, generation never falls, and the other file makes no difference.
        #[test]
        fn any_history_keeps_the_last_good_version(looks in looks()) {
            let folder = tempfile::tempdir().unwrap();
            let names = ["a", "b"];
            let mut records: BTreeMap<String, ObjectRecord> = BTreeMap::new();
            let mut resources = HashMap::new();
            let mut seen = Scan::default();
            let mut expected = [None; 2];
            let mut uids: [Option<String>; 2] = [None, None];
            let mut generations = [0; 2];
            for (turn, files) in looks.into_iter().enumerate() {
                let now = Timestamp::from_second(turn as i64).unwrap();
                for (name, file) in names.iter().zip(files) {
                    let path = folder.path().join(format!("{name}.yaml"));
                    match text(name, file) {
                        Some(text) => std::fs::write(path, text).unwrap(),
                        None => drop(std::fs::remove_file(path)),
                    }
                }
                seen = scan::scan(folder.path(), &BTreeSet::new(), &seen).unwrap();
                let desired = Desired::new(&seen);
                let plan = plan(&seen, &desired, &records, &resources, Moment { now, grace: SignedDuration::ZERO }, crate::object::new_uid);
                for record in plan.changed {
                    records.insert(record.uid.clone(), record);
                }
                resources = plan.resources;
                for (index, (name, file)) in names.iter().zip(files).enumerate() {
                    match file {
                        File::Good(value) => expected[index] = Some(value),
                        File::Absent => expected[index] = None,
                        File::Invalid | File::Broken => {}
                    }
                    let living = records.values().find(|it| it.key.name == *name && it.vanished.is_none());
                    if matches!(file, File::Absent) {
                        prop_assert!(living.is_none());
                    }
                    let runs = living.and_then(|record| match resources.get(&record.uid) {
                        Some(AnyResource::DataSource(object)) => object.spec.sqlite.as_ref().map(|it| it.path.clone()),
                        _ => None,
                    });
                    prop_assert_eq!(runs, expected[index].map(|value| format!("p{value}.db")));
                    let Some(record) = living else { continue };
                    prop_assert_eq!(record.rejected.is_none(), matches!(file, File::Good(_)));
                    let uid = uids[index].get_or_insert_with(|| record.uid.clone());
                    prop_assert_eq!(&*uid, &record.uid);
                    prop_assert!(record.generation >= generations[index]);
                    generations[index] = record.generation;
                }
                // Looking again at the same changes nothing.
                let again = super::plan(&seen, &desired, &records, &resources, Moment { now, grace: SignedDuration::ZERO }, crate::object::new_uid);
                prop_assert!(again.changed.is_empty() && !again.is_destructive);
            }
        }
    }
}
