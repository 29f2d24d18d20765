//! Every file of tests/manifests, through the one validation.
//!
//! A file in `valid/` has no problem. A file in `invalid/` says each of its problems, in any
//! order, in comments:
//!
//! ```yaml
//! # expect: spec.schedule.cron: has 6 fields      the field, and a part of the message
//! # expect: spec.destination.profile: NotImplemented: only profile Portable is served   with a reason
//! ```
//!
//! A file with `# old` before its first document and `# new` before its second is an update of
//! one object. A folder is a set of files, and its problems are those of the whole set.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use lakegate_crds::{
    AnyResource,
    conditions::Reason,
    manifest::{self, Class},
    validation::{self, Problem},
};

#[derive(Debug)]
struct Expected {
    field: String,
    reason: Option<Reason>,
    message: String,
}

fn expectations(text: &str) -> Vec<Expected> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("# expect: "))
        .map(|line| {
            let (field, rest) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("no message in: {line}"));
            let (reason, message) = match rest.split_once(": ") {
                Some((word, message)) if word.parse::<Reason>().is_ok() => (word.parse().ok(), message),
                _ => (None, rest),
            };
            let field = if field == "object" { "" } else { field };
            Expected {
                field: field.to_owned(),
                reason,
                message: message.to_owned(),
            }
        })
        .collect()
}

/// All that `lakegate validate` would say about the texts, each problem with its line.
fn problems(texts: &[String]) -> Vec<(usize, Problem)> {
    let mut found = Vec::new();
    let mut resources: Vec<(AnyResource, manifest::Document)> = Vec::new();
    for text in texts {
        let is_update = text.lines().any(|line| line.trim() == "# old");
        let mut old: Option<serde_json::Value> = None;
        for parsed in manifest::parse(text) {
            let document = match parsed {
                Ok(document) => document,
                Err(problem) => {
                    found.push((
                        problem.line,
                        Problem::new("", Reason::Unreadable, problem.message),
                    ));
                    continue;
                }
            };
            if document.class() != Class::Lakegate {
                continue;
            }
            match validation::validate(&document.value, old.as_ref()) {
                Ok(resource) => {
                    for problem in validation::unserved(&resource) {
                        found.push((document.line_of(&problem.field), problem));
                    }
                    if is_update {
                        old = Some(document.value);
                    } else {
                        resources.push((resource, document));
                    }
                }
                Err(all) => {
                    found.extend(
                        all.into_iter()
                            .map(|problem| (document.line_of(&problem.field), problem)),
                    );
                }
            }
        }
    }
    // Files of the corpus that show one thing refer to resources they do not hold; only a folder
    // is a whole set.
    if texts.len() > 1 {
        let set: Vec<&AnyResource> = resources.iter().map(|(resource, _)| resource).collect();
        for it in validation::validate_set(&set) {
            found.push((resources[it.index].1.line_of(&it.problem.field), it.problem));
        }
    }
    found
}

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = crate::crate_folder().join("../tests/manifests").join(name);
    let mut entries: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
}

/// The texts of a file, or of the files of a folder.
fn texts(path: &Path) -> Vec<String> {
    if path.is_dir() {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect()
    } else {
        vec![std::fs::read_to_string(path).unwrap()]
    }
}

#[test]
fn valid_manifests_have_no_problem() {
    let entries = corpus("valid");
    assert!(entries.len() >= 15, "only {} valid manifests", entries.len());
    for path in entries {
        let found = problems(&texts(&path));
        // The full surface is valid before all of it is served.
        let unexpected: Vec<String> = found
            .iter()
            .filter(|(_, problem)| problem.reason != Reason::NotImplemented)
            .map(|(line, problem)| format!("line {line}: {problem}"))
            .collect();
        assert!(
            unexpected.is_empty(),
            "{}:\n{}",
            path.display(),
            unexpected.join("\n")
        );
    }
}

#[test]
fn valid_manifests_survive_a_round_trip() {
    for path in corpus("valid") {
        for text in texts(&path) {
            for document in manifest::parse(&text).into_iter().flatten() {
                if document.class() != Class::Lakegate {
                    continue;
                }
                let resource = validation::validate(&document.value, None).unwrap();
                let again = validation::validate(&resource.to_value().unwrap(), Some(&document.value))
                    .unwrap_or_else(|problems| panic!("{}: {problems:?}", path.display()));
                assert_eq!(again, resource, "{}", path.display());
            }
        }
    }
}

#[test]
fn invalid_manifests_have_exactly_their_problems() {
    let entries = corpus("invalid");
    assert!(entries.len() >= 40, "only {} invalid manifests", entries.len());
    let mut failures = Vec::new();
    for path in entries {
        let texts = texts(&path);
        let expected: Vec<Expected> = texts.iter().flat_map(|text| expectations(text)).collect();
        let found = problems(&texts);
        let fits = |expected: &Expected, problem: &Problem| {
            expected.field == problem.field
                && problem.message.contains(&expected.message)
                && expected.reason.is_none_or(|reason| reason == problem.reason)
        };
        let mut unmatched: BTreeSet<usize> = (0..found.len()).collect();
        let mut wrong = Vec::new();
        if expected.is_empty() {
            wrong.push("expects nothing".to_owned());
        }
        for it in &expected {
            match unmatched.iter().copied().find(|index| fits(it, &found[*index].1)) {
                Some(index) => {
                    unmatched.remove(&index);
                }
                None => wrong.push(format!("not found: {it:?}")),
            }
        }
        for index in unmatched {
            let (line, problem) = &found[index];
            wrong.push(format!(
                "not expected: line {line}: {problem} ({})",
                problem.reason
            ));
        }
        if !wrong.is_empty() {
            failures.push(format!("{}:\n  {}", path.display(), wrong.join("\n  ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn problems_know_their_lines() {
    for (file, expected) in [("cron-six-fields.yaml", 13), ("unknown-field-nested.yaml", 11)] {
        let path = crate::crate_folder()
            .join("../tests/manifests/invalid")
            .join(file);
        let found = problems(&texts(&path));
        assert_eq!(found[0].0, expected, "{file}: {found:?}");
    }
}
