//! Which tables of a store become visible: `discovery.include` and `exclude`.

/// Patterns over `schema.table`; `*` stands for any run of characters and `?`
/// for one. A pattern without a dot is one for the table in any schema.
#[derive(Debug, Clone, Default)]
pub struct TableFilter {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl TableFilter {
    pub fn new(include: &[String], exclude: &[String]) -> Self {
        Self {
            include: include.to_vec(),
            exclude: exclude.to_vec(),
        }
    }

    /// Whether the table is visible: it matches an `include` (or there is none)
    /// and no `exclude`.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        let hit = |pattern: &String| {
            if pattern.contains('.') {
                glob(pattern, &format!("{schema}.{table}"))
            } else {
                glob(pattern, table)
            }
        };
        (self.include.is_empty() || self.include.iter().any(hit)) && !self.exclude.iter().any(hit)
    }
}

/// Matches the whole text; linear in text times pattern, no recursion.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how much text it has swallowed so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_at, swallowed)) = star {
            star = Some((star_at, swallowed + 1));
            p = star_at + 1;
            t = swallowed + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("public.*", "public", "orders", true),
            ("public.*", "audit", "orders", false),
            ("*", "any", "thing", true),
            ("*.tmp_*", "any", "tmp_1", true),
            ("tmp_?", "any", "tmp_1", true),
            ("tmp_?", "any", "tmp_12", false),
            ("a*b*c", "s", "axxbyyc", true),
            ("a*b*c", "s", "axxbyy", false),
            ("s.a.b", "s", "a.b", true),
        ];
        for (pattern, schema, table, expected) in cases {
            let filter = TableFilter::new(&[pattern.to_owned()], &[]);
            assert_eq!(
                filter.matches(schema, table),
                expected,
                "{pattern} {schema}.{table}"
            );
            let filter = TableFilter::new(&[], &[pattern.to_owned()]);
            assert_eq!(filter.matches(schema, table), !expected, "not {pattern}");
        }
        assert!(TableFilter::default().matches("a", "b"));
    }
}
