//! Views with parameters: table functions `views.name(param => value)`.
//!
//! ```text
//! FROM views.f(day => x) AS t   is   FROM "a name no statement has" AS t, whose plan is that of the View
//!                                    with (x::date) in the places of $day
//! ```
//!
//! An argument is a value and never a text: it is an expression of the statement that calls, planned by itself to check
//! its type, and then a part of the View's syntax tree. What could mean something else there (a column, a subquery) is
//! refused, and so is what could differ between two mentions of the parameter.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, Ident, ObjectName, ObjectNamePart, Statement,
    TableAlias, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::catalog::ViewDefinition;
use crate::dialect;
use crate::error::{Cause, FederationError, Location};
use crate::metadata::VIEWS_SCHEMA;
use crate::resolve::{Resolved, Scope};
use crate::settings::quote_identifier;
use crate::types::PgType;
use crate::view_parameters::{Parameter, not_a_value, nulls};

/// A call of a View.
#[derive(Debug)]
pub(crate) struct Call {
    /// The table that stands for it in the statement.
    pub(crate) table: TableReference,
    pub(crate) view: Arc<ViewDefinition>,
    /// A value for each parameter.
    pub(crate) values: Vec<Expr>,
    location: Option<Location>,
}

/// Takes the calls of Views out of a statement and leaves a table in the place of each.
///
/// `is_function` says whether an unqualified name is a function of another kind, which goes first.
pub(crate) fn take(
    statement: &mut Statement,
    scope: &Scope,
    is_function: &dyn Fn(&str) -> bool,
) -> Result<Vec<Call>, FederationError> {
    let mut calls = Calls {
        scope,
        is_function,
        found: Vec::new(),
    };
    match VisitMut::visit(statement, &mut calls) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(calls.found),
    }
}

struct Calls<'a> {
    scope: &'a Scope,
    is_function: &'a dyn Fn(&str) -> bool,
    found: Vec<Call>,
}

impl VisitorMut for Calls<'_> {
    type Break = FederationError;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<FederationError> {
        match self.replace(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Calls<'_> {
    fn replace(&mut self, factor: &mut TableFactor) -> Result<(), FederationError> {
        let (name, arguments, alias, ordinality) = match factor {
            TableFactor::Table {
                name,
                args: Some(arguments),
                alias,
                with_ordinality,
                ..
            } => (&*name, &arguments.args, &*alias, *with_ordinality),
            TableFactor::Function {
                name,
                args,
                alias,
                with_ordinality,
                ..
            } => (&*name, &*args, &*alias, *with_ordinality),
            _ => return Ok(()),
        };
        let Some(view) = self.view(name)? else {
            return Ok(());
        };
        let location = location_of(name);
        let place = |error: FederationError| match location {
            Some(location) => error.at(location),
            None => error,
        };
        if ordinality {
            return Err(place(
                Cause::NotSupported {
                    message: format!("WITH ORDINALITY of views.{} is not supported", view.name),
                }
                .into(),
            ));
        }
        let values = assign(&view, arguments).map_err(place)?;
        let table = format!("lakegate_call {}", self.found.len());
        let alias = alias.clone().unwrap_or_else(|| TableAlias {
            explicit: true,
            name: Ident::with_quote('"', view.name.clone()),
            columns: Vec::new(),
            at: None,
        });
        *factor = TableFactor::Table {
            name: ObjectName::from(vec![Ident::with_quote('"', table.clone())]),
            alias: Some(alias),
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        self.found.push(Call {
            table: TableReference::bare(table),
            view,
            values,
            location,
        });
        Ok(())
    }

    /// The View that a name in a call means; None for a function of another kind.
    fn view(&self, name: &ObjectName) -> Result<Option<Arc<ViewDefinition>>, FederationError> {
        let Ok(reference) = object_name_to_table_reference(name.clone(), true) else {
            return Ok(None);
        };
        if reference.schema().is_none() && (self.is_function)(reference.table()) {
            return Ok(None);
        }
        let place = |error: FederationError| match location_of(name) {
            Some(location) => error.at(location),
            None => error,
        };
        let found = match self.scope.resolve(&reference) {
            Ok(Resolved::View { name }) => self.scope.snapshot.views.get(&name),
            _ => None,
        };
        match found {
            Some(view) if view.parameters.is_empty() => Err(place(
                FederationError::from(Cause::UnknownFunction {
                    function: format!("views.{}()", view.name),
                })
                .with_hint(format!(
                    "The View has no parameters: select from views.{} without parentheses.",
                    view.name
                )),
            )),
            Some(view) => Ok(Some(Arc::clone(view))),
            None if reference.schema() == Some(VIEWS_SCHEMA) => Err(place(
                FederationError::from(Cause::UnknownFunction {
                    function: reference.to_string(),
                })
                .with_hint("See: select view, parameters from lakegate.views."),
            )),
            None => Ok(None),
        }
    }
}

fn location_of(name: &ObjectName) -> Option<Location> {
    match name.0.first()? {
        ObjectNamePart::Identifier(ident) if ident.span != Span::empty() => Some(Location {
            line: ident.span.start.line,
            column: ident.span.start.column,
        }),
        _ => None,
    }
}

/// A value for each parameter of a View.
fn assign(view: &ViewDefinition, arguments: &[FunctionArg]) -> Result<Vec<Expr>, FederationError> {
    let named = |name: &str| {
        view.parameters
            .iter()
            .position(|parameter| parameter.name == name)
    };
    let syntax = |message: String| FederationError::from(Cause::Syntax { message });
    let mut values: Vec<Option<Expr>> = vec![None; view.parameters.len()];
    let mut seen_named = false;
    for (index, argument) in arguments.iter().enumerate() {
        let (place, value) = match argument {
            FunctionArg::Unnamed(_) if seen_named => {
                return Err(syntax(
                    "positional argument cannot follow named argument".to_owned(),
                ));
            }
            FunctionArg::Unnamed(value) if index < values.len() => (index, value),
            FunctionArg::Unnamed(_) => {
                return Err(no_such_call(
                    view,
                    format!(
                        "views.{} takes {} arguments at most, and has {}",
                        view.name,
                        values.len(),
                        arguments.len()
                    ),
                ));
            }
            FunctionArg::Named { name, arg, operator } => {
                seen_named = true;
                (find(view, &fold(name), operator, named)?, arg)
            }
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg,
                operator,
            } => {
                seen_named = true;
                (find(view, &fold(name), operator, named)?, arg)
            }
            FunctionArg::ExprNamed { .. } => {
                return Err(syntax(format!("an argument of views.{} has no name", view.name)));
            }
        };
        let parameter = &view.parameters[place];
        let FunctionArgExpr::Expr(value) = value else {
            return Err(not_supported(view, parameter, "*"));
        };
        if let Some(what) = not_a_value(value, true) {
            return Err(not_supported(view, parameter, what));
        }
        if values[place].replace(value.clone()).is_some() {
            return Err(syntax(format!(
                "parameter \"{}\" of views.{} is given twice",
                parameter.name, view.name
            )));
        }
    }
    view.parameters
        .iter()
        .zip(values)
        .map(|(parameter, value)| {
            let default = || parameter.default.as_ref().map(|default| default.value.clone());
            value.or_else(default).ok_or_else(|| {
                no_such_call(
                    view,
                    format!(
                        "views.{} needs a value for the parameter \"{}\" of type {}",
                        view.name,
                        parameter.name,
                        parameter.pg_type.sql_name()
                    ),
                )
            })
        })
        .collect()
}

fn fold(name: &Ident) -> String {
    if name.quote_style.is_some() {
        name.value.clone()
    } else {
        name.value.to_lowercase()
    }
}

fn find(
    view: &ViewDefinition,
    name: &str,
    operator: &FunctionArgOperator,
    named: impl Fn(&str) -> Option<usize>,
) -> Result<usize, FederationError> {
    if !matches!(operator, FunctionArgOperator::RightArrow) {
        return Err(Cause::Syntax {
            message: format!("syntax error at or near \"{operator}\": write {name} => value"),
        }
        .into());
    }
    named(name).ok_or_else(|| no_such_call(view, format!("views.{} has no parameter \"{name}\"", view.name)))
}

/// How a View is called, for a hint.
pub(crate) fn usage(view: &ViewDefinition) -> String {
    let arguments: Vec<String> = view
        .parameters
        .iter()
        .map(|parameter| {
            let argument = format!(
                "{} => {}",
                quote_identifier(&parameter.name),
                parameter.pg_type.sql_name()
            );
            match &parameter.default {
                Some(_) => format!("[{argument}]"),
                None => argument,
            }
        })
        .collect();
    format!(
        "Call it as views.{}({}).",
        quote_identifier(&view.name),
        arguments.join(", ")
    )
}

fn no_such_call(view: &ViewDefinition, message: String) -> FederationError {
    FederationError::from(Cause::NoSuchOverload { message }).with_hint(usage(view))
}

fn not_supported(view: &ViewDefinition, parameter: &Parameter, what: &str) -> FederationError {
    FederationError::from(Cause::NotSupported {
        message: format!(
            "the parameter \"{}\" of views.{} must be given a value: it is given {what}",
            parameter.name, view.name
        ),
    })
    .with_hint("Give a constant, a parameter of the statement such as $1, or an expression of those.")
}

impl Call {
    /// The error with the place of the call.
    pub(crate) fn place(&self, error: FederationError) -> FederationError {
        match self.location {
            Some(location) => error.at(location),
            None => error,
        }
    }

    /// A value as it is given.
    pub(crate) fn value(&self, index: usize) -> Expr {
        self.values[index].clone()
    }

    /// A value as the View gets it.
    pub(crate) fn cast(&self, index: usize) -> Expr {
        self.view.parameters[index].cast(self.value(index))
    }

    /// Whether a value is a `$n` whose type nothing says yet: it is cast once it is bound.
    pub(crate) fn is_untyped(&self, index: usize, parameters: &[Option<DataType>]) -> bool {
        let number = placeholder_number(&self.values[index]);
        number.is_some_and(|number| {
            let declared = number.checked_sub(1).and_then(|index| parameters.get(index));
            !matches!(declared, Some(Some(_)))
        })
    }

    /// For each `$n` that is a value by itself, its number and the type it must have.
    pub(crate) fn open_parameters(&self) -> impl Iterator<Item = (usize, PgType)> + '_ {
        let pairs = self.view.parameters.iter().zip(&self.values);
        pairs.filter_map(|(parameter, value)| Some((placeholder_number(value)?, parameter.pg_type)))
    }

    /// Whether a value of the type that it is planned with fits a parameter.
    pub(crate) fn check_type(&self, index: usize, given: PgType) -> Result<(), FederationError> {
        let (parameter, value) = (&self.view.parameters[index], &self.values[index]);
        let to = parameter.pg_type;
        let is_open = dialect::literal_text(value).is_some();
        let is_whole = matches!(to.base.oid, 20 | 21 | 23) && !to.array;
        if is_open || fits(given, to) || is_whole && dialect::literal_integer(value).is_some() {
            return Ok(());
        }
        Err(self.place(no_such_call(
            &self.view,
            format!(
                "the parameter \"{}\" of views.{} is of type {}, and is given {}",
                parameter.name,
                self.view.name,
                to.sql_name(),
                given.sql_name()
            ),
        )))
    }

    /// An error of a value, with the name of its parameter.
    pub(crate) fn of_value(&self, index: usize, error: &FederationError) -> FederationError {
        self.place(
            Cause::Value {
                sqlstate: error.sqlstate(),
                message: format!(
                    "parameter \"{}\" of views.{}: {error}",
                    self.view.parameters[index].name, self.view.name
                ),
            }
            .into(),
        )
    }

    /// Refuses a value that may be another one each time it is looked at.
    pub(crate) fn volatile(&self, index: usize) -> FederationError {
        self.place(not_supported(
            &self.view,
            &self.view.parameters[index],
            "what may be another value each time",
        ))
    }

    /// Whether a value can be computed before the statement runs.
    pub(crate) fn is_literal(&self, index: usize) -> bool {
        struct Literal;
        impl Visitor for Literal {
            type Break = ();

            fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
                match expression {
                    Expr::Function(_) => ControlFlow::Break(()),
                    Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                        ControlFlow::Break(())
                    }
                    _ => ControlFlow::Continue(()),
                }
            }
        }
        self.values[index].visit(&mut Literal).is_continue()
    }
}

/// The number of an expression that is a `$n` and nothing else.
fn placeholder_number(value: &Expr) -> Option<usize> {
    match dialect::bare(value) {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// PostgreSQL's implicit casts.
fn fits(from: PgType, to: PgType) -> bool {
    // smallint, integer, bigint, numeric, real, double precision: each becomes any that stands behind it
    const NUMBERS: [u32; 6] = [21, 23, 20, 1700, 700, 701];
    const TIMES: [u32; 3] = [1082, 1114, 1184];
    const TEXTS: [u32; 4] = [19, 25, 1042, 1043];
    if from.array != to.array {
        return false;
    }
    let (from, to) = (from.base.oid, to.base.oid);
    let place = |oid: u32, list: &[u32]| list.iter().position(|one| *one == oid);
    let widens = |list: &[u32]| matches!((place(from, list), place(to, list)), (Some(a), Some(b)) if a <= b);
    from == to
        || widens(&NUMBERS)
        || widens(&TIMES)
        || place(from, &TEXTS).is_some() && place(to, &TEXTS).is_some()
}

/// Its defaults, NULLs for those without: what shows whether the defaults are values of their types.
pub(crate) fn default_call(view: &Arc<ViewDefinition>) -> Call {
    let values = view
        .parameters
        .iter()
        .zip(nulls(&view.parameters))
        .map(|(parameter, null)| match &parameter.default {
            Some(default) => default.value.clone(),
            None => null,
        })
        .collect();
    Call {
        table: TableReference::bare(view.name.clone()),
        view: Arc::clone(view),
        values,
        location: None,
    }
}
