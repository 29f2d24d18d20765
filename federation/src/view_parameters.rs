//! The parameters of Views: read from the resource, and replaced by values in the View's syntax tree.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Ident, Query, Select, SelectItem, Statement, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token};

use crate::dialect;
use crate::error::{Cause, FederationError};
use crate::metadata::FunctionParameter;
use crate::statement::{NESTING, check_bounds};
use crate::types::PgType;

/// A parameter of a View, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) pg_type: PgType,
    sql_type: DataType,
    pub(crate) default: Option<Default>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Default {
    text: String,
    pub(crate) value: Expr,
}

fn parser(sql: &str) -> Result<Parser<'static>, FederationError> {
    const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};
    let tokens = check_bounds(sql)?;
    Ok(Parser::new(&DIALECT)
        .with_recursion_limit(NESTING)
        .with_tokens_with_locations(tokens))
}

impl Parameter {
    /// Reads a parameter as a View gives it.
    ///
    /// # Errors
    /// The field, of this parameter, and what is wrong with it.
    pub(crate) fn read(spec: &lakegate_crds::ViewParameter) -> Result<Self, (&'static str, String)> {
        let no_type = || {
            let message = format!(
                "\"{}\" is no type here; use one such as date, bigint, numeric(12,2), text or timestamptz",
                spec.r#type
            );
            ("type", message)
        };
        let mut types = parser(&spec.r#type).map_err(|_| no_type())?;
        let sql_type = types.parse_data_type().map_err(|_| no_type())?;
        if types.peek_token().token != Token::EOF {
            return Err(no_type());
        }
        let target = dialect::target(&sql_type).ok_or_else(no_type)?;
        let default = match &spec.default {
            Some(text) => Some(Default {
                text: text.trim().to_owned(),
                value: read_default(text).map_err(|message| ("default", message))?,
            }),
            None => None,
        };
        Ok(Self {
            name: spec.name.clone(),
            pg_type: target.pg_type,
            sql_type,
            default,
        })
    }

    pub(crate) fn metadata(&self) -> FunctionParameter {
        FunctionParameter {
            name: self.name.clone(),
            pg_type: self.pg_type,
            default: self.default.as_ref().map(|default| default.text.clone()),
        }
    }

    /// `value::type`
    pub(crate) fn cast(&self, value: Expr) -> Expr {
        Expr::Nested(Box::new(Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(Expr::Nested(Box::new(value))),
            data_type: self.sql_type.clone(),
            array: false,
            format: None,
        }))
    }
}

fn read_default(text: &str) -> Result<Expr, String> {
    let mut expressions = parser(text).map_err(|error| error.to_string())?;
    let value = expressions
        .parse_expr()
        .map_err(|error| FederationError::from(error).to_string())?;
    if expressions.peek_token().token != Token::EOF {
        return Err("must be one expression".to_owned());
    }
    match not_a_value(&value, false) {
        Some(what) => Err(format!("must be a value: it has {what}")),
        None => Ok(value),
    }
}

/// What an expression has that no value has.
pub(crate) fn not_a_value(expression: &Expr, placeholders: bool) -> Option<&'static str> {
    struct OnlyValues {
        placeholders: bool,
    }
    impl Visitor for OnlyValues {
        type Break = &'static str;

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
            ControlFlow::Break("a subquery")
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
            match expression {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => {
                    ControlFlow::Break("a column")
                }
                Expr::Function(function) if function.over.is_some() => {
                    ControlFlow::Break("a window function")
                }
                Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) && !self.placeholders => {
                    ControlFlow::Break("a parameter")
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match expression.visit(&mut OnlyValues { placeholders }) {
        ControlFlow::Break(what) => Some(what),
        ControlFlow::Continue(()) => None,
    }
}

/// Puts values in the places of a View's parameters.
///
/// # Errors
/// `UnknownParameter` for a `$name` that is none of them: also for `$1`, which is the caller's.
pub(crate) fn substitute(
    statement: &mut Statement,
    parameters: &[Parameter],
    values: &[Expr],
) -> Result<(), FederationError> {
    let mut values = Substitution { parameters, values };
    match VisitMut::visit(statement, &mut values) {
        ControlFlow::Break(name) => Err(Cause::UnknownParameter {
            number: name.trim_start_matches('$').to_owned(),
        }
        .into()),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// A NULL of its type for each parameter: what a View is planned with to know its columns.
pub(crate) fn nulls(parameters: &[Parameter]) -> Vec<Expr> {
    let null = || Expr::Value(Value::Null.with_span(Span::empty()));
    parameters.iter().map(|_| null()).collect()
}

struct Substitution<'a> {
    parameters: &'a [Parameter],
    values: &'a [Expr],
}

impl VisitorMut for Substitution<'_> {
    type Break = String;

    /// What has no alias is named by what is written, not by the values of this call.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expression) = item
                && mentions_parameter(expression)
            {
                let written = expression.to_string();
                let alias = written.strip_prefix('$').unwrap_or(&written);
                *item = SelectItem::ExprWithAlias {
                    alias: Ident::with_quote('"', alias),
                    expr: expression.clone(),
                };
            }
        }
        ControlFlow::Continue(())
    }

    // behind the children, so that what is put in is not looked at again
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<String> {
        let Expr::Value(value) = &*expression else {
            return ControlFlow::Continue(());
        };
        let Value::Placeholder(name) = &value.value else {
            return ControlFlow::Continue(());
        };
        let wanted = name.trim_start_matches('$').to_lowercase();
        let mut pairs = self.parameters.iter().zip(self.values);
        match pairs.find(|(parameter, _)| parameter.name == wanted) {
            Some((parameter, value)) => {
                *expression = parameter.cast(value.clone());
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(name.clone()),
        }
    }
}

fn mentions_parameter(expression: &Expr) -> bool {
    struct Mentions;
    impl Visitor for Mentions {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expression.visit(&mut Mentions).is_break()
}
