//! Reading SQL: the PostgreSQL dialect, bounded nesting, and which statements run.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectNamePart, Query, Select, SelectItem, SetExpr, Statement, TableFactor, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::error::{Cause, FederationError};

/// Levels of parentheses, subqueries and the like.
pub(crate) const NESTING: usize = 128;
/// Operators that chain (`a OR b OR …`): each one deepens the tree without nesting,
/// and trees are walked and dropped by recursion.
const CHAIN: usize = 2000;

/// Parses the statements of a text.
///
/// # Errors
/// `Syntax` with its place, `TooComplex` when the text nests too deeply.
pub fn parse(sql: &str) -> Result<Vec<Statement>, FederationError> {
    let dialect = PostgreSqlDialect {};
    let tokens = check_bounds(sql)?;
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(NESTING)
        .with_tokens_with_locations(tokens);
    Ok(parser.parse_statements()?)
}

/// The tokens of a text whose tree cannot get too deep.
pub(crate) fn check_bounds(sql: &str) -> Result<Vec<TokenWithSpan>, FederationError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| {
            FederationError::from(datafusion::sql::sqlparser::parser::ParserError::from(error))
        })?;
    let chained = tokens.iter().filter(|token| chains(&token.token)).count();
    if chained > CHAIN {
        return Err(FederationError::from(Cause::TooComplex {
            message: format!("{chained} operators in one text, of at most {CHAIN}"),
        })
        .with_hint("Use IN (…) in place of a long chain of OR."));
    }
    Ok(tokens)
}

fn chains(token: &Token) -> bool {
    match token {
        Token::Word(word) if word.quote_style.is_none() => {
            matches!(
                word.value.to_ascii_uppercase().as_str(),
                "AND" | "OR" | "UNION" | "EXCEPT" | "INTERSECT" | "JOIN"
            )
        }
        Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::DoubleColon
        | Token::LBracket
        | Token::Arrow
        | Token::LongArrow => true,
        _ => false,
    }
}

/// Refuses everything but reading.
///
/// # Errors
/// `ReadOnly` for what writes, `NotSupported` for what the gateway must handle itself.
pub(crate) fn check_reads(statement: &Statement) -> Result<(), FederationError> {
    match statement {
        Statement::Query(query) => check_query(query),
        Statement::Explain { statement, .. } => check_reads(statement),
        other => {
            let text = other.to_string();
            let mut words = text.split_whitespace();
            let command = words.next().unwrap_or_default().to_uppercase();
            let writes = [
                "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "CREATE", "ALTER", "DROP", "GRANT",
                "REVOKE", "COMMENT", "VACUUM", "REINDEX", "CLUSTER", "LOCK", "CALL", "COPY", "ANALYZE",
                "REFRESH", "RENAME", "REPLACE", "LOAD",
            ];
            if writes.contains(&command.as_str()) {
                let command = match (command.as_str(), words.next()) {
                    ("CREATE" | "ALTER" | "DROP", Some(object)) => {
                        format!("{command} {}", object.to_uppercase())
                    }
                    _ => command,
                };
                return Err(FederationError::from(Cause::ReadOnly { command })
                    .with_hint("Lakegate only reads; change what it serves by its manifests."));
            }
            Err(Cause::NotSupported {
                message: format!("{command} is not supported"),
            }
            .into())
        }
    }
}

fn check_query(query: &Query) -> Result<(), FederationError> {
    if let Some(with) = &query.with {
        for cte in &with.cte_tables {
            check_query(&cte.query)?;
        }
    }
    if !query.locks.is_empty() {
        return Err(Cause::ReadOnly {
            command: "SELECT FOR UPDATE".into(),
        }
        .into());
    }
    check_body(&query.body)
}

fn check_body(body: &SetExpr) -> Result<(), FederationError> {
    let command = match body {
        SetExpr::Select(select) if select.into.is_some() => "SELECT INTO",
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => return Ok(()),
        SetExpr::Query(query) => return check_query(query),
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            return check_body(right);
        }
        SetExpr::Insert(_) => "INSERT",
        SetExpr::Update(_) => "UPDATE",
        SetExpr::Delete(_) => "DELETE",
        SetExpr::Merge(_) => "MERGE",
    };
    Err(Cause::ReadOnly {
        command: command.into(),
    }
    .into())
}

/// Gives unquoted column names the case of the one column they can mean.
///
/// `columns` are the columns of all tables the statement names. A name that is a
/// column as it is, or that the statement itself defines (an alias), stays.
pub(crate) fn match_column_case(statement: &mut Statement, columns: &BTreeSet<String>) {
    if !columns
        .iter()
        .any(|column| column.chars().any(char::is_uppercase))
    {
        return;
    }
    let mut defined = Defined::default();
    let _ = statement.visit(&mut defined);
    let mut matcher = CaseMatcher {
        columns,
        defined: defined.0,
    };
    let _ = statement.visit(&mut matcher);
}

#[derive(Default)]
struct Defined(BTreeSet<String>);

impl Defined {
    fn add(&mut self, ident: &Ident) {
        let quoted = ident.quote_style.is_some();
        self.0.insert(if quoted {
            ident.value.clone()
        } else {
            ident.value.to_lowercase()
        });
    }
}

impl VisitorMut for Defined {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.add(&cte.alias.name);
            for column in &cte.alias.columns {
                self.add(&column.name);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.add(alias);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let alias = match factor {
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::NestedJoin { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => alias.as_ref(),
            _ => None,
        };
        if let Some(alias) = alias {
            self.add(&alias.name);
            for column in &alias.columns {
                self.add(&column.name);
            }
        }
        ControlFlow::Continue(())
    }
}

struct CaseMatcher<'a> {
    columns: &'a BTreeSet<String>,
    defined: BTreeSet<String>,
}

impl CaseMatcher<'_> {
    fn fix(&self, ident: &mut Ident) {
        if ident.quote_style.is_some() {
            return;
        }
        let folded = ident.value.to_lowercase();
        if self.columns.contains(&folded) || self.defined.contains(&folded) {
            return;
        }
        let mut same = self
            .columns
            .iter()
            .filter(|column| column.to_lowercase() == folded);
        if let (Some(only), None) = (same.next(), same.next()) {
            ident.value.clone_from(only);
            ident.quote_style = Some('"');
        }
    }
}

impl VisitorMut for CaseMatcher<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(ident) => self.fix(ident),
            Expr::CompoundIdentifier(parts) => {
                if let Some(last) = parts.last_mut() {
                    self.fix(last);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        use datafusion::sql::sqlparser::ast::{JoinConstraint, JoinOperator};
        for join in select.from.iter_mut().flat_map(|table| &mut table.joins) {
            let (JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)) = &mut join.join_operator
            else {
                continue;
            };
            if let JoinConstraint::Using(names) = constraint {
                for part in names.iter_mut().flat_map(|name| &mut name.0) {
                    if let ObjectNamePart::Identifier(ident) = part {
                        self.fix(ident);
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_is_allowed() {
        let cases = [
            ("select 1", "ok"),
            ("with a as (select 1) select * from a", "ok"),
            ("values (1), (2)", "ok"),
            ("explain analyze select 1", "ok"),
            ("insert into t values (1)", "25006"),
            (
                "with a as (insert into t values (1) returning *) select * from a",
                "25006",
            ),
            ("delete from t", "25006"),
            ("update t set a = 1", "25006"),
            ("create table t (a int)", "25006"),
            ("drop table t", "25006"),
            ("truncate t", "25006"),
            ("select * into t2 from t", "25006"),
            ("select * from t for update", "25006"),
            ("explain delete from t", "25006"),
            ("copy t from stdin", "25006"),
        ];
        for (sql, expected) in cases {
            let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            let outcome = check_reads(&statements[0]);
            let got = outcome.as_ref().map_or_else(FederationError::sqlstate, |()| "ok");
            assert_eq!(got, expected, "{sql}: {outcome:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("select {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(parse(&deep).unwrap_err().sqlstate(), "54001");
        let chain = format!("select 1{}", "+1".repeat(CHAIN + 1));
        assert_eq!(parse(&chain).unwrap_err().sqlstate(), "54001");
        let long = format!("select 1 where 1 in ({})", vec!["7"; 50_000].join(","));
        assert_eq!(parse(&long).unwrap().len(), 1);
    }

    #[test]
    fn syntax_errors_have_a_place() {
        for (sql, position) in [
            ("select 1 +", None),
            ("selec 1", Some(1)),
            ("select\n )", Some(9)),
        ] {
            let error = parse(sql).unwrap_err();
            assert_eq!(error.sqlstate(), "42601", "{sql}");
            if position.is_some() {
                assert!(error.position(sql).is_some(), "{sql}: {error:?}");
            }
        }
    }

    #[test]
    fn columns_match_whatever_their_case() {
        let columns: BTreeSet<String> = ["CustomerId", "name", "Total", "TOTAL"].map(String::from).into();
        let cases = [
            ("SELECT customerid FROM t", "SELECT \"CustomerId\" FROM t"),
            ("SELECT t.CUSTOMERID FROM t", "SELECT t.\"CustomerId\" FROM t"),
            ("SELECT NAME FROM t", "SELECT NAME FROM t"),
            ("SELECT total FROM t", "SELECT total FROM t"),
            (
                "SELECT 1 AS customerid FROM t ORDER BY customerid",
                "SELECT 1 AS customerid FROM t ORDER BY customerid",
            ),
            (
                "SELECT * FROM t JOIN u USING(customerid)",
                "SELECT * FROM t JOIN u USING(\"CustomerId\")",
            ),
        ];
        for (sql, expected) in cases {
            let mut statement = parse(sql).unwrap().remove(0);
            match_column_case(&mut statement, &columns);
            assert_eq!(statement.to_string(), expected);
        }
    }
}
