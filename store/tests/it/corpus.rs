//! The corpus of manifests, as a folder: refused and accepted as everywhere, with the same messages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lakegate_crds::conditions::Reason;
use lakegate_store::{
    FileProblem,
    folder::{Severity, load},
};

use crate::Served;

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/manifests")
        .join(name);
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

fn texts(case: &Path) -> Vec<String> {
    if case.is_dir() {
        let files = fs::read_dir(case).unwrap().map(|entry| entry.unwrap().path());
        files.map(|file| fs::read_to_string(file).unwrap()).collect()
    } else {
        vec![fs::read_to_string(case).unwrap()]
    }
}

/// `# expect: FIELD: [REASON: ]MESSAGE`, as field and message.
fn expectations(case: &Path) -> Vec<(String, String)> {
    let texts = texts(case);
    let lines = texts.iter().flat_map(|text| text.lines());
    lines
        .filter_map(|line| line.trim().strip_prefix("# expect: "))
        .map(|line| {
            let (field, rest) = line.split_once(": ").unwrap();
            let message = match rest.split_once(": ") {
                Some((word, message)) if word.parse::<Reason>().is_ok() => message,
                _ => rest,
            };
            (
                if field == "object" {
                    String::new()
                } else {
                    field.to_owned()
                },
                message.to_owned(),
            )
        })
        .collect()
}

fn is_update(case: &Path) -> bool {
    case.is_file() && texts(case)[0].lines().any(|line| line.trim() == "# old")
}

/// What the set lacks is no matter in a file that shows one thing.
fn of_the_case(case: &Path, problems: Vec<FileProblem>) -> Vec<FileProblem> {
    problems
        .into_iter()
        .filter(|problem| case.is_dir() || problem.reason != Reason::DependencyNotFound)
        .collect()
}

#[test]
fn valid_manifests_are_valid_in_a_folder() {
    for case in corpus("valid") {
        if is_update(&case) {
            continue;
        }
        let loaded = load(&case).unwrap();
        let errors: Vec<_> = of_the_case(&case, loaded.problems)
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| problem.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", case.display());
    }
}

#[test]
fn invalid_manifests_have_their_problems_in_a_folder() {
    let mut failures = Vec::new();
    for case in corpus("invalid").into_iter().filter(|case| !is_update(case)) {
        let problems = of_the_case(&case, load(&case).unwrap().problems);
        for (field, message) in expectations(&case) {
            if !problems
                .iter()
                .any(|problem| problem.field == field && problem.message.contains(&message))
            {
                failures.push(format!(
                    "{}: {field}: {message} is not in {problems:#?}",
                    case.display()
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn updates_are_judged_against_the_last_good_version() {
    let mut judged = 0;
    for case in corpus("valid")
        .into_iter()
        .chain(corpus("invalid"))
        .filter(|case| is_update(case))
    {
        let text = &texts(&case)[0];
        // A folder starts no runs, so it never sees one changed.
        if text.contains("\nkind: ExportRun\n") {
            continue;
        }
        let (old, new) = text.split_once("\n---\n").unwrap();
        // Comments may stand before a first `---`.
        let (old, new) = if old.lines().all(|line| line.is_empty() || line.starts_with('#')) {
            new.split_once("\n---\n").unwrap()
        } else {
            (old, new)
        };
        let served = Served::new(&[("object.yaml", old)]).await;
        assert_eq!(errors(&served), [""; 0], "{}", case.display());
        served.write("object.yaml", new);
        served.look().await;
        let mut problems = served.store().problems();
        // What no version serves yet, of the old document and the new.
        problems.extend(load(&served.folder()).unwrap().problems);
        let expected = expectations(&case);
        assert_eq!(
            expected.is_empty(),
            errors(&served).is_empty(),
            "{}: {problems:?}",
            case.display()
        );
        for (field, message) in expected {
            assert!(
                problems
                    .iter()
                    .any(|problem| problem.field == field && problem.message.contains(&message)),
                "{}: {field}: {message} is not in {problems:#?}",
                case.display()
            );
        }
        judged += 1;
    }
    assert!(judged > 3, "only {judged} updates in the corpus");
}

fn errors(served: &Served) -> Vec<String> {
    let problems = served.store().problems();
    problems
        .iter()
        .filter(|it| it.severity == Severity::Error)
        .map(ToString::to_string)
        .collect()
}
