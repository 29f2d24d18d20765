//! Condition types and reasons are API: a change of the golden file is a change of the API.

use std::fmt::Write as _;

use lakegate_crds::conditions::{ConditionType, Reason};

#[test]
fn words_are_those_of_the_golden_file() {
    let mut text = String::from("# Condition types\n");
    for word in ConditionType::ALL {
        writeln!(text, "{word}").unwrap();
    }
    text.push_str("\n# Reasons\n");
    for word in Reason::ALL {
        writeln!(text, "{word}").unwrap();
    }
    crate::assert_file(&crate::crate_folder().join("tests/golden/vocabulary.txt"), &text);
}

#[test]
fn reasons_fit_the_api() {
    for word in Reason::ALL {
        let text = word.as_str();
        assert!(
            text.len() <= 1024 && text.chars().next().unwrap().is_ascii_uppercase(),
            "{text}"
        );
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric()), "{text}");
    }
}
