//! Push-down never changes an answer: one harness for every store with SQL.
//!
//! Each query runs twice, once with everything pushed and once over raw rows, and
//! the answers must have the same types, NULLs and rows, in the same order where
//! the query gives one. The queries are made from the table's own columns (every
//! type with every aggregate, order and grouping) and by chance.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

use crate::common::{Answer, plan, try_rows};

/// What was compared.
#[derive(Debug, Default, Clone, Copy)]
pub struct Compared {
    /// Queries with an answer on both sides.
    pub cases: usize,
    /// Those of them of which the store did more than filter rows.
    pub pushed: usize,
    /// Queries that neither side answers.
    pub refused: usize,
}

impl Compared {
    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.pushed += other.pushed;
        self.refused += other.refused;
    }
}

/// Joins of orders with their customers that every store makes, whatever its types are.
const SENT_JOINS: &[&str] = &[
    "SELECT c.region, count(o.id), count(*) FROM orders o LEFT JOIN customers c ON o.customer = c.id GROUP BY c.region",
    "SELECT c.region, count(*) FROM customers c JOIN orders o ON o.customer = c.id WHERE o.total > 5 AND c.id < 200 GROUP BY c.region HAVING count(*) > 10",
    "SELECT c.region, count(*) FILTER (WHERE o.total > 5 AND c.score > 9.5) FROM orders o JOIN customers c ON o.customer = c.id GROUP BY c.region",
    "SELECT o.id, c.id FROM orders o JOIN customers c ON o.customer = c.id WHERE c.id = 5",
    "SELECT o.id, o.name, c.name FROM orders o JOIN customers c ON o.customer = c.id ORDER BY o.id DESC LIMIT 7",
    "SELECT c.region, o.id FROM orders o LEFT JOIN customers c ON o.customer = c.id AND c.region > 3 ORDER BY c.region DESC NULLS LAST, o.id LIMIT 20",
    "SELECT count(*) FROM orders a JOIN orders b ON a.customer = b.id WHERE b.total > 3",
];

/// Those that none makes: of views, of keys that are not unique, of cut tables, with a
/// filter that is evaluated here, or with more to send than both tables.
const LOCAL_JOINS: &[&str] = &[
    "SELECT count(*) FROM orders o JOIN customers c ON o.name = c.name",
    "SELECT o.*, c.* FROM orders o JOIN customers c ON o.customer = c.id",
    "SELECT count(*) FROM orders o JOIN seen s ON o.customer = s.id",
    "SELECT count(*) FROM orders o FULL JOIN customers c ON o.customer = c.id",
    "SELECT count(*) FROM orders o JOIN customers c ON o.customer = c.id WHERE c.score = -0.0",
    "SELECT count(*) FROM (SELECT * FROM orders ORDER BY id LIMIT 9) o JOIN customers c ON o.customer = c.id",
];

/// The two sessions and the table whose column `id` tells its rows apart.
pub struct Harness<'a> {
    pub pushing: &'a SessionContext,
    pub raw: &'a SessionContext,
    pub table: &'a str,
}

/// Random queries of each kind; more for a long run.
pub fn chance_cases() -> u32 {
    std::env::var("LAKEGATE_PUSHDOWN_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(120)
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_decimal()
}

impl Harness<'_> {
    async fn schema(&self) -> SchemaRef {
        let table = self.pushing.table_provider(self.table).await.unwrap();
        table.schema()
    }

    /// Compares one query. `ordered`: its rows come in one order.
    ///
    /// An error of the raw query says nothing: the store may never have come to the
    /// value. The other way round it is a mistake, but for a sum that the engine
    /// would have let overflow.
    pub async fn compare(&self, sql: &str, ordered: bool) -> Result<Compared, String> {
        let sorted = |answer: Answer| {
            let (types, mut rows) = answer;
            if !ordered {
                rows.sort();
            }
            (types, rows)
        };
        if std::env::var_os("LAKEGATE_PUSHDOWN_SHOW").is_some() {
            println!("{sql}");
        }
        let here = try_rows(self.raw, sql).await.map(sorted);
        let there = try_rows(self.pushing, sql).await.map(sorted);
        let refused = Compared {
            refused: 1,
            ..Compared::default()
        };
        match (here, there) {
            (Err(_), _) => Ok(refused),
            (Ok(_), Err(error)) if is_overflow(&error.to_string()) => Ok(refused),
            (Ok(_), Err(error)) => Err(format!("{sql}\nfails only when pushed: {error}")),
            (Ok(here), Ok(there)) if here == there => {
                let plan = plan(self.pushing, sql).await;
                Ok(Compared {
                    cases: 1,
                    pushed: usize::from(is_pushed(&plan)),
                    refused: 0,
                })
            }
            (Ok(here), Ok(there)) => Err(format!(
                "{sql}\nraw:    {here:?}\npushed: {there:?}\n{}",
                plan(self.pushing, sql).await
            )),
        }
    }

    async fn compare_all(&self, queries: &[(String, bool)]) -> Compared {
        let mut compared = Compared::default();
        for (sql, ordered) in queries {
            match self.compare(sql, *ordered).await {
                Ok(one) => compared.add(one),
                Err(difference) => panic!("{difference}"),
            }
        }
        compared
    }

    /// Compares joins of a shop's tables: those of every store, and its own that it makes, and that stay here.
    pub async fn joins(&self, sent: &[&str], stays: &[&str]) {
        for (sent, stays) in [(SENT_JOINS, LOCAL_JOINS), (sent, stays)] {
            self.divides(" JOIN ", "HashJoinExec", sent, stays).await;
        }
    }

    /// Compares queries: `sent` are told to the store by `spelling` and leave no `operator` here, `stays` are not.
    pub async fn divides(&self, spelling: &str, operator: &str, sent: &[&str], stays: &[&str]) {
        for (queries, expected) in [(sent, true), (stays, false)] {
            for sql in queries {
                let compared = self.compare(sql, sql.contains("ORDER BY")).await;
                assert_eq!(compared.map(|compared| compared.cases), Ok(1), "{sql}");
                let plan = plan(self.pushing, sql).await;
                let told = requests(&plan).any(|request| request.contains(spelling));
                assert_eq!(told, expected, "{sql}\n{plan}");
                assert!(!told || !plan.contains(operator), "{sql}\n{plan}");
            }
        }
    }

    /// Every column under every order, grouping and aggregate.
    pub async fn matrix(&self) -> Compared {
        let table = self.table;
        let mut queries = Vec::new();
        for field in self.schema().await.fields() {
            let name = format!("\"{}\"", field.name());
            let mut add = |sql: String, ordered: bool| queries.push((sql, ordered));
            for direction in ["ASC", "DESC"] {
                for (nulls, window) in [
                    ("", "LIMIT 5"),
                    (" NULLS FIRST", "LIMIT 7 OFFSET 3"),
                    (" NULLS LAST", "LIMIT 11"),
                ] {
                    add(
                        format!(
                            "SELECT id, {name} FROM {table} ORDER BY {name} {direction}{nulls}, id {window}"
                        ),
                        true,
                    );
                }
            }
            add(format!("SELECT DISTINCT {name} FROM {table}"), false);
            add(
                format!("SELECT {name}, count(*), min(id) FROM {table} GROUP BY {name}"),
                false,
            );
            add(
                format!("SELECT {name}, count(*) AS n FROM {table} GROUP BY {name} HAVING count(*) > 20"),
                false,
            );
            add(
                format!("SELECT {name}, max(id) AS m FROM {table} GROUP BY {name} ORDER BY m DESC LIMIT 3"),
                true,
            );
            add(
                format!("SELECT count({name}), count(DISTINCT {name}), count(*) FROM {table}"),
                false,
            );
            add(format!("SELECT min({name}), max({name}) FROM {table}"), false);
            add(
                format!("SELECT min({name}), max({name}) FROM {table} WHERE id < 0"),
                false,
            );
            add(
                format!(
                    "SELECT count({name}) FILTER (WHERE id > 7), count(DISTINCT {name}) FILTER (WHERE id < 20), \
                     min({name}) FILTER (WHERE id > 7), max({name}) FILTER (WHERE id < 0) FROM {table}"
                ),
                false,
            );
            add(
                format!(
                    "SELECT count(*) FILTER (WHERE {name} IS NULL), max(id) FILTER (WHERE {name} IS NOT NULL) \
                     FROM {table}"
                ),
                false,
            );
            if matches!(field.data_type(), DataType::Timestamp(_, None)) {
                for unit in [
                    "second", "minute", "hour", "day", "week", "month", "quarter", "year",
                ] {
                    add(
                        format!(
                            "SELECT date_trunc('{unit}', {name}) AS began, count(*), max(id) FROM {table} GROUP BY began"
                        ),
                        false,
                    );
                }
            }
            let functions: &[&str] = match field.data_type() {
                DataType::Boolean => &["bool_and", "bool_or"],
                DataType::Float32 | DataType::Float64 => &["sum", "avg", "stddev"],
                number if is_number(number) => &["sum", "avg", "var_pop"],
                _ => &[],
            };
            for function in functions {
                add(format!("SELECT {function}({name}) FROM {table}"), false);
                add(
                    format!("SELECT {function}({name}) FROM {table} WHERE id < 0"),
                    false,
                );
            }
            if is_number(field.data_type()) {
                add(
                    format!(
                        "SELECT sum({name}) FILTER (WHERE id > 7), avg({name}) FILTER (WHERE id > 7), \
                         sum({name} * 2) FILTER (WHERE {name} > 0), sum({name}) FILTER (WHERE id < 0) FROM {table}"
                    ),
                    false,
                );
                add(
                    format!("SELECT sum(DISTINCT {name}), avg(DISTINCT {name}) FROM {table}"),
                    false,
                );
                add(
                    format!("SELECT id % 3, sum({name}), avg({name}) FROM {table} GROUP BY id % 3"),
                    false,
                );
                add(
                    format!("SELECT sum({name} * 2), sum({name} - 1), sum(1 + {name} * {name}) FROM {table}"),
                    false,
                );
                add(
                    format!("SELECT sum({name}) FROM {table} HAVING sum({name}) > 0"),
                    false,
                );
            }
        }
        self.compare_all(&queries).await
    }

    /// A condition, its negation and its being unknown part the table, as the store
    /// counts them.
    async fn parts(&self, condition: &str) -> Result<(), String> {
        let table = self.table;
        let mut counts = Vec::new();
        for filter in [
            format!(" WHERE ({condition})"),
            format!(" WHERE NOT ({condition})"),
            format!(" WHERE ({condition}) IS NULL"),
            String::new(),
        ] {
            match try_rows(self.pushing, &format!("SELECT count(*) FROM {table}{filter}")).await {
                Ok((_, rows)) => counts.push(rows[0][0].parse::<usize>().unwrap()),
                // Some value does not compare at all.
                Err(_) => return Ok(()),
            }
        }
        if counts[0] + counts[1] + counts[2] == counts[3] {
            Ok(())
        } else {
            Err(format!("{condition} parts the table into {counts:?}"))
        }
    }

    /// Random groups, aggregates, conditions and orders. `condition` makes the WHERE.
    pub fn by_chance(
        &self,
        columns: &[String],
        condition: impl Strategy<Value = String> + 'static,
    ) -> Compared {
        let functions = vec![
            "count(*)",
            "count({})",
            "count(DISTINCT {})",
            "min({})",
            "max({})",
            "sum(id)",
            "avg(id)",
            "sum(id * 2 - 1)",
        ];
        let condition = condition.boxed();
        let strategy = (
            prop::option::of(condition.clone()),
            prop::collection::vec(any::<Index>(), 0..3),
            prop::collection::vec(
                (
                    select(functions),
                    any::<Index>(),
                    prop::option::weighted(0.3, condition),
                ),
                1..4,
            ),
            prop::option::of((0_i64..30, select(vec![">", "<", "=", "<>"]))),
            prop::option::of((
                any::<Index>(),
                any::<bool>(),
                prop::option::of(any::<bool>()),
                0..40_usize,
            )),
        );
        let mut runner = TestRunner::new(Config {
            cases: chance_cases(),
            failure_persistence: None,
            ..Config::default()
        });
        let total = std::cell::Cell::new(Compared::default());
        let table = self.table;
        let outcome = runner.run(&strategy, |(condition, keys, calls, having, top)| {
            let filter = condition
                .as_ref()
                .map(|condition| format!(" WHERE {condition}"))
                .unwrap_or_default();
            let mut names: Vec<&String> = keys.iter().map(|key| &columns[key.index(columns.len())]).collect();
            names.sort();
            names.dedup();
            let mut grouped = "SELECT ".to_owned();
            for name in &names {
                let _ = write!(grouped, "{name}, ");
            }
            let calls: Vec<String> = calls
                .iter()
                .enumerate()
                .map(|(position, (call, column, filter))| {
                    let call = call.replace("{}", &columns[column.index(columns.len())]);
                    let filter = filter
                        .as_ref()
                        .map(|filter| format!(" FILTER (WHERE {filter})"))
                        .unwrap_or_default();
                    format!("{call}{filter} AS a{position}")
                })
                .collect();
            let _ = write!(grouped, "{} FROM {table}{filter}", calls.join(", "));
            if !names.is_empty() {
                let keys: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                let _ = write!(grouped, " GROUP BY {}", keys.join(", "));
            }
            if let Some((bound, operator)) = having {
                let _ = write!(grouped, " HAVING count(*) {operator} {bound}");
            }
            if let Some(condition) = &condition {
                tokio::runtime::Handle::current()
                    .block_on(self.parts(condition))
                    .map_err(TestCaseError::fail)?;
            }
            let mut queries = vec![(grouped, false)];
            if let Some((key, descending, nulls_first, rows)) = top {
                let key = &columns[key.index(columns.len())];
                let direction = if descending { "DESC" } else { "ASC" };
                let nulls = match nulls_first {
                    Some(true) => " NULLS FIRST",
                    Some(false) => " NULLS LAST",
                    None => "",
                };
                queries.push((
                    format!("SELECT id, {key} FROM {table}{filter} ORDER BY {key} {direction}{nulls}, id LIMIT {rows} OFFSET 2"),
                    true,
                ));
            }
            for (sql, ordered) in queries {
                let one = tokio::runtime::Handle::current().block_on(self.compare(&sql, ordered));
                let one = one.map_err(TestCaseError::fail)?;
                let mut sum = total.get();
                sum.add(one);
                total.set(sum);
            }
            Ok(())
        });
        outcome.unwrap();
        total.get()
    }
}

/// Sums that wrap around in the engine and are an error in the store.
fn is_overflow(error: &str) -> bool {
    ["out of range", "does not fit", "integer overflow"]
        .iter()
        .any(|text| error.contains(text))
}

/// The requests of a plan, without what stays here.
fn requests(plan: &str) -> impl Iterator<Item = &str> {
    plan.split("request=")
        .skip(1)
        .filter_map(|request| request.lines().next()?.split(", local=").next())
}

/// Whether the store groups or sorts.
pub fn is_pushed(plan: &str) -> bool {
    let Some(at) = plan.find("request=") else {
        return plan.contains("EmptyExec");
    };
    let request = &plan[at..];
    [
        "GROUP BY", "ORDER BY", "count(", "COUNT(", "sum(", "SUM(", "min(", "MIN(",
    ]
    .iter()
    .any(|sql| request.contains(sql))
}
