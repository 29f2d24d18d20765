//! Masking texts, each distinct one of a batch once.
//!
//! Names of countries and of states repeat; a hash costs more than finding that it has been computed. Where most
//! texts are new, remembering costs more than it saves and is given up.

use arrow::array::{Array, StringArray, StringBuilder};
use datafusion::common::HashMap;

use crate::error::FederationError;
use crate::values::read::value_error;

/// Rows after which is decided whether remembering pays.
const TRIAL: usize = 1024;

/// Appends the masked text to a string, and says whether there is one; else it is NULL.
pub(super) type MaskText<'a> = Box<dyn FnMut(&str, &mut String) -> bool + 'a>;

/// A mask of texts.
pub(super) trait TextMask: Send + Sync {
    /// Whatever the texts of one batch need once.
    fn begin(&self) -> MaskText<'_>;
}

/// A mask that needs nothing.
impl<F: Fn(&str, &mut String) -> bool + Send + Sync> TextMask for F {
    fn begin(&self) -> MaskText<'_> {
        Box::new(self)
    }
}

/// The masked texts.
pub(super) fn masked(texts: &StringArray, mask: &dyn TextMask) -> Result<StringArray, FederationError> {
    let mut mask = mask.begin();
    let mut out = StringBuilder::with_capacity(texts.len(), texts.value_data().len().min(1 << 20));
    let mut total = 0;
    let mut put = |masked: Option<&str>| {
        total += masked.map_or(0, str::len);
        // a batch's texts are one buffer, whose places are counted in 31 bits
        if total > i32::MAX as usize {
            return Err(value_error("54000", "the masked texts of one batch are too long"));
        }
        out.append_option(masked);
        Ok(())
    };
    // the masked texts one behind the other, and where each one's is
    let mut results = String::new();
    let mut known: HashMap<&str, Option<(usize, usize)>> = HashMap::new();
    let mut remembers = true;
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            put(None)?;
            continue;
        };
        if remembers && row >= TRIAL && known.len() > row / 2 {
            remembers = false;
            known = HashMap::new();
        }
        if !remembers {
            results.clear();
            let there = mask(text, &mut results);
            put(there.then_some(results.as_str()))?;
            continue;
        }
        let place = if let Some(place) = known.get(text) {
            *place
        } else {
            let from = results.len();
            let place = mask(text, &mut results).then_some((from, results.len()));
            known.insert(text, place);
            place
        };
        put(place.map(|(from, to)| &results[from..to]))?;
    }
    Ok(out.finish())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn repeated_texts_are_masked_once_and_unique_ones_are_not_remembered() {
        let calls = AtomicUsize::new(0);
        let mask = |text: &str, out: &mut String| {
            calls.fetch_add(1, Ordering::Relaxed);
            out.push('<');
            out.push_str(text);
            text != "7"
        };
        let few: StringArray = (0..5000)
            .map(|row| (row % 11 != 10).then(|| (row % 10).to_string()))
            .collect();
        let masked_few = masked(&few, &mask).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 10);
        let many: StringArray = (10..8000).map(|row| Some(row.to_string())).collect();
        let masked_many = masked(&many, &mask).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 10 + many.len());
        for (clear, masked) in few.iter().zip(&masked_few).chain(many.iter().zip(&masked_many)) {
            let expected = clear.filter(|text| *text != "7").map(|text| format!("<{text}"));
            assert_eq!(masked.map(str::to_owned), expected);
        }
    }
}
