//! `jsonPath`: keeps the parts of a JSON text that are named and removes all others.

use lakegate_crds::JsonPathMask;

use super::MaskRefusal;
use crate::json::{Value, parse};

/// What of a value is kept.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Kept {
    /// All of it.
    whole: bool,
    members: Vec<(String, Kept)>,
    /// By position, from 0.
    elements: Vec<(usize, Kept)>,
    /// Of every member or element.
    every: Option<Box<Kept>>,
}

enum Step {
    Member(String),
    Element(usize),
    Every,
}

pub(super) fn keep_paths(
    spec: &JsonPathMask,
) -> Result<impl Fn(&str, &mut String) -> bool + Send + Sync + 'static, MaskRefusal> {
    let mut kept = Kept::default();
    for (index, path) in spec.keep.iter().enumerate() {
        let field = || format!("jsonPath.keep[{index}]");
        let steps = steps(path).ok_or_else(|| {
            MaskRefusal::new(
                field(),
                "it is no path: write $.name, $['a name'], $[0] or $[*], one step behind the other",
            )
        })?;
        if steps.is_empty() {
            return Err(MaskRefusal::new(
                field(),
                "$ keeps everything, so nothing would be hidden; name a part",
            ));
        }
        kept.add(&steps);
    }
    kept.settle();
    Ok(move |text: &str, out: &mut String| {
        if text.is_empty() {
            return true;
        }
        // the parser's error would be about the value
        let Ok(value) = parse(text) else { return false };
        out.push_str(&kept.part(value).unwrap_or(Value::Null).to_json());
        true
    })
}

/// `$.order.items[*]['unit price']` by its steps; None when it is no path.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.trim().strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, behind) = name.split_at(end);
            steps.push(match name {
                "" => return None,
                "*" => Step::Every,
                name => Step::Member(name.to_owned()),
            });
            rest = behind;
            continue;
        }
        let inner = rest.strip_prefix('[')?;
        if let Some(quote @ ('\'' | '"')) = inner.chars().next() {
            let (name, behind) = inner[1..].split_once(quote)?;
            steps.push(Step::Member(name.to_owned()));
            rest = behind.strip_prefix(']')?;
        } else {
            let (index, behind) = inner.split_once(']')?;
            steps.push(match index {
                "*" => Step::Every,
                index => Step::Element(index.parse().ok()?),
            });
            rest = behind;
        }
    }
    Some(steps)
}

impl Kept {
    fn add(&mut self, steps: &[Step]) {
        let Some((step, behind)) = steps.split_first() else {
            self.whole = true;
            return;
        };
        let next = match step {
            Step::Member(name) => entry(&mut self.members, name),
            Step::Element(index) => entry(&mut self.elements, index),
            Step::Every => self.every.get_or_insert_default().as_mut(),
        };
        next.add(behind);
    }

    /// What holds of every member holds of those that are named, too.
    fn settle(&mut self) {
        let named = self.members.iter_mut().map(|(_, kept)| kept);
        let placed = self.elements.iter_mut().map(|(_, kept)| kept);
        for kept in named.chain(placed) {
            if let Some(every) = &self.every {
                kept.merge(every);
            }
            kept.settle();
        }
        if let Some(every) = &mut self.every {
            every.settle();
        }
    }

    fn merge(&mut self, other: &Self) {
        self.whole |= other.whole;
        for (name, kept) in &other.members {
            entry(&mut self.members, name).merge(kept);
        }
        for (index, kept) in &other.elements {
            entry(&mut self.elements, index).merge(kept);
        }
        if let Some(every) = &other.every {
            self.every.get_or_insert_default().merge(every);
        }
    }

    /// What is kept of a value; None of a scalar that a path leads through.
    fn part(&self, value: Value) -> Option<Value> {
        if self.whole {
            return Some(value);
        }
        let every = self.every.as_deref();
        match value {
            Value::Object(members) => {
                let kept = members.into_iter().filter_map(|(name, value)| {
                    let own = self.members.iter().find(|(known, _)| *known == name);
                    let part = own.map(|(_, kept)| kept).or(every)?.part(value)?;
                    Some((name, part))
                });
                Some(Value::Object(kept.collect()))
            }
            Value::Array(elements) => {
                let kept = elements.into_iter().enumerate().filter_map(|(index, value)| {
                    let own = self.elements.iter().find(|(known, _)| *known == index);
                    own.map(|(_, kept)| kept).or(every)?.part(value)
                });
                Some(Value::Array(kept.collect()))
            }
            _ => None,
        }
    }
}

fn entry<'a, K: PartialEq + Clone>(kept: &'a mut Vec<(K, Kept)>, key: &K) -> &'a mut Kept {
    let known = kept.iter().position(|(known, _)| known == key);
    let at = known.unwrap_or_else(|| {
        kept.push((key.clone(), Kept::default()));
        kept.len() - 1
    });
    &mut kept[at].1
}
