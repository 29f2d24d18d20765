//! Operators by the types of their operands.
//!
//! A string literal takes the type that the operator wants of it, as in PostgreSQL. Where an operator of
//! DataFusion means the same it is kept, for the optimizer knows it and stores can be asked for it; the others are
//! functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Cast, Placeholder};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::cast::Target;
use crate::error::{Cause, FederationError};
use crate::functions::arithmetic::digits;
use crate::functions::{Library, cast};
use crate::types::{self, BaseType, PgType};
use crate::values::read::number;

/// Plans operators, EXTRACT, and subscripts.
#[derive(Debug)]
pub(crate) struct Operators {
    pub(crate) library: Arc<Library>,
}

/// An operand and what is known of it.
struct Operand {
    expr: Expr,
    field: FieldRef,
    pg_type: PgType,
    /// A string literal, whose type is still open.
    open: bool,
}

impl Operand {
    fn new(expr: Expr, schema: &DFSchema) -> DataFusionResult<Self> {
        let expr = narrow(expr);
        let (_, field) = expr.to_field(schema)?;
        let open = matches!(
            &expr,
            Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, None)
        );
        Ok(Self {
            pg_type: types::of_field(&field),
            field,
            expr,
            open,
        })
    }

    fn oid(&self) -> u32 {
        if self.pg_type.array {
            0
        } else {
            self.pg_type.base.oid
        }
    }

    fn is(&self, base: &'static BaseType) -> bool {
        self.oid() == base.oid
    }

    fn is_null(&self) -> bool {
        self.field.data_type().is_null()
    }

    fn is_integer(&self) -> bool {
        matches!(self.oid(), 20 | 21 | 23) && self.field.data_type().is_integer()
    }

    fn is_float(&self) -> bool {
        matches!(self.oid(), 700 | 701)
    }

    fn is_numeric(&self) -> bool {
        self.oid() == types::NUMERIC.oid
    }

    fn is_number(&self) -> bool {
        self.is_integer() || self.is_float() || self.is_numeric()
    }

    fn is_text(&self) -> bool {
        matches!(self.oid(), 18 | 19 | 25 | 1042 | 1043) && !self.is_null()
    }

    fn is_time(&self) -> bool {
        matches!(self.oid(), 1082 | 1083 | 1114 | 1184 | 1186)
    }

    fn is_json(&self) -> bool {
        matches!(self.oid(), 114 | 3802) && !self.field.data_type().is_nested()
    }

    /// A list, or what json prints of a nested one.
    fn is_list(&self) -> bool {
        matches!(
            self.field.data_type(),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _)
        )
    }

    /// This operand with a type; of numeric the digits that are written.
    fn cast(self, pg_type: PgType) -> Expr {
        let mut target = Target::of(PgType {
            typmod: -1,
            ..pg_type
        });
        if pg_type.base.oid == types::NUMERIC.oid
            && !pg_type.array
            && let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &self.expr
            && let Ok(value) = number::numeric(text)
            && let (Ok(precision), Ok(scale)) = (u8::try_from(value.precision), i8::try_from(value.scale))
        {
            target.digits = Some((precision, scale));
        }
        cast::call(self.expr, target)
    }

    fn cast_to(self, base: &'static BaseType) -> Expr {
        self.cast(PgType::scalar(base))
    }
}

/// A whole number literal as the `integer` it is where it fits.
fn narrow(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), None) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), None),
            Err(_) => expr,
        },
        other => other,
    }
}

fn is_open_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(Placeholder { field: None, .. }))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

impl Operators {
    fn function(&self, name: &str) -> DataFusionResult<Arc<ScalarUDF>> {
        self.library
            .get(name)
            .ok_or_else(|| FederationError::internal(format!("no function {name}")).into())
    }

    fn call(&self, name: &str, args: Vec<Expr>) -> DataFusionResult<Expr> {
        Ok(self.function(name)?.call(args))
    }

    fn arithmetic(&self, left: Operand, op: Operator, right: Operand) -> DataFusionResult<Planned> {
        if left.is_json() && op == Operator::Minus {
            let name = "lakegate_jsonb_delete";
            return Ok(Planned::Is(self.call(name, vec![left.expr, right.expr])?));
        }
        let (left, right) = resolve_open(left, right, op);
        let (left, right) = (left?, right?);
        if left.is_time() || right.is_time() {
            let name = match op {
                Operator::Plus => "lakegate_time_add",
                Operator::Minus => "lakegate_time_subtract",
                Operator::Multiply => "lakegate_time_multiply",
                Operator::Divide => "lakegate_time_divide",
                _ => return Ok(Planned::Not(left, right)),
            };
            return Ok(Planned::Is(self.call(name, vec![left.expr, right.expr])?));
        }
        if !(left.is_number() && right.is_number()) {
            return Ok(Planned::Not(left, right));
        }
        if left.is_float() || right.is_float() {
            // real stays real only with its like
            let both_real = left.is(&types::FLOAT4) && right.is(&types::FLOAT4);
            let double = |operand: Operand| {
                if both_real || operand.is(&types::FLOAT8) {
                    operand.expr
                } else {
                    Expr::Cast(Cast::new(Box::new(operand.expr), DataType::Float64))
                }
            };
            return Ok(Planned::Is(binary(double(left), op, double(right))));
        }
        if left.is_numeric() || right.is_numeric() {
            return self.numeric(left, op, right).map(Planned::Is);
        }
        Ok(Planned::Is(binary(left.expr, op, right.expr)))
    }

    fn numeric(&self, left: Operand, op: Operator, right: Operand) -> DataFusionResult<Expr> {
        let (left, right) = (decimal(left), decimal(right));
        let of = |operand: &Operand| digits(operand.field.data_type()).unwrap_or((20, 0));
        let ((precision, scale), (by_precision, by_scale)) = (of(&left), of(&right));
        match op {
            Operator::Divide => self.call("lakegate_numeric_divide", vec![left.expr, right.expr]),
            Operator::Multiply => {
                // DataFusion's product keeps every digit behind the point and cuts those before it to fit
                let (digits, places) = (precision + by_precision + 1, scale + by_scale);
                if (digits > 38 && places > 20) || places > 38 {
                    self.call("lakegate_numeric_multiply", vec![left.expr, right.expr])
                } else {
                    Ok(binary(left.expr, op, right.expr))
                }
            }
            Operator::Modulo => self.call("mod", vec![left.expr, right.expr]),
            _ => {
                let places = scale.max(by_scale);
                let digits = (precision - scale).max(by_precision - by_scale) + places + 1;
                let widen = digits > 38 && places > 20;
                let wide = |operand: Operand, places: i32| match operand.field.data_type() {
                    DataType::Decimal128(..) if widen => Expr::Cast(Cast::new(
                        Box::new(operand.expr),
                        DataType::Decimal256(76, places as i8),
                    )),
                    _ => operand.expr,
                };
                Ok(binary(wide(left, scale), op, wide(right, by_scale)))
            }
        }
    }

    fn comparison(&self, left: Operand, op: Operator, right: Operand) -> DataFusionResult<Planned> {
        let (left, right) = match (left.open && !left.is_null(), right.open && !right.is_null()) {
            (true, false) if !right.is_null() => {
                let expr = compared_literal(left, &right);
                return Ok(Planned::Is(binary(self.key_of(expr)?, op, self.key_of(right)?)));
            }
            (false, true) if !left.is_null() => {
                let expr = compared_literal(right, &left);
                return Ok(Planned::Is(binary(self.key_of(left)?, op, self.key_of(expr)?)));
            }
            _ => (left, right),
        };
        let temporal = |operand: &Operand| matches!(operand.oid(), 1082 | 1114 | 1184);
        if temporal(&left) && temporal(&right) && left.oid() != right.oid() {
            let zoned = left.is(&types::TIMESTAMPTZ) || right.is(&types::TIMESTAMPTZ);
            let common = if zoned {
                &types::TIMESTAMPTZ
            } else {
                &types::TIMESTAMP
            };
            return Ok(Planned::Is(binary(
                left.cast_to(common),
                op,
                right.cast_to(common),
            )));
        }
        // numeric meets double precision as double precision
        if (left.is_numeric() && right.is_float()) || (left.is_float() && right.is_numeric()) {
            let double = |operand: Operand| Expr::Cast(Cast::new(Box::new(operand.expr), DataType::Float64));
            return Ok(Planned::Is(binary(double(left), op, double(right))));
        }
        if left.is(&types::INTERVAL) && right.is(&types::INTERVAL)
            || left.is(&types::JSONB) && right.is(&types::JSONB)
            || (left.is(&types::BPCHAR) || right.is(&types::BPCHAR)) && left.is_text() && right.is_text()
        {
            return Ok(Planned::Is(binary(self.key_of(left)?, op, self.key_of(right)?)));
        }
        Ok(Planned::Not(left, right))
    }

    /// What of an operand is compared.
    fn key_of(&self, operand: Operand) -> DataFusionResult<Expr> {
        match operand.oid() {
            // a day is 24 hours and a month 30 days when intervals are compared
            1186 => self.call("lakegate_interval_key", vec![operand.expr]),
            3802 if !operand.field.data_type().is_nested() => {
                self.call("lakegate_jsonb_key", vec![operand.expr])
            }
            // blanks at the end do not count
            1042 => Ok(cast::call(operand.expr, Target::of(PgType::scalar(&types::TEXT)))),
            _ => Ok(operand.expr),
        }
    }

    fn concatenation(&self, left: Operand, right: Operand) -> DataFusionResult<Planned> {
        if left.is_list() || right.is_list() {
            return self.array_concatenation(left, right);
        }
        if left.is_json() || right.is_json() {
            let name = "lakegate_jsonb_concat";
            return Ok(Planned::Is(self.call(name, vec![left.expr, right.expr])?));
        }
        let bytes = |operand: &Operand| operand.is(&types::BYTEA);
        if bytes(&left) && (bytes(&right) || right.open) || bytes(&right) && left.open {
            return Ok(Planned::Is(
                self.call("lakegate_bytea_concat", vec![left.expr, right.expr])?,
            ));
        }
        let texts = left.is_text() || right.is_text() || left.is_null() || right.is_null();
        if !texts {
            return Err(no_operator(&left, "||", &right).into());
        }
        let text = |operand: Operand| {
            let plain = matches!(operand.oid(), 25 | 1043 | 19) || operand.is_null();
            if plain {
                operand.expr
            } else {
                operand.cast_to(&types::TEXT)
            }
        };
        Ok(Planned::Is(binary(
            text(left),
            Operator::StringConcat,
            text(right),
        )))
    }

    fn array_concatenation(&self, left: Operand, right: Operand) -> DataFusionResult<Planned> {
        // a literal beside an array is an array literal
        let (left, right) = match (left.open && !left.is_null(), right.open && !right.is_null()) {
            (true, _) => {
                let expr = left.cast(right.pg_type);
                return Ok(Planned::Is(self.call("array_cat", vec![expr, right.expr])?));
            }
            (_, true) => {
                let pg_type = left.pg_type;
                return Ok(Planned::Is(
                    self.call("array_cat", vec![left.expr, right.cast(pg_type)])?,
                ));
            }
            _ => (left, right),
        };
        let name = match (left.is_list(), right.is_list()) {
            (true, true) => "array_cat",
            (true, false) => "array_append",
            _ => "array_prepend",
        };
        Ok(Planned::Is(self.call(name, vec![left.expr, right.expr])?))
    }

    /// `->`, `@>`, `?` and their kin.
    fn containment(&self, left: Operand, op: &BinaryOperator, right: Operand) -> DataFusionResult<Planned> {
        use BinaryOperator::{
            Arrow, ArrowAt, AtArrow, AtQuestion, HashArrow, HashLongArrow, HashMinus, LongArrow, PGOverlap,
            Question, QuestionAnd, QuestionPipe,
        };
        if matches!(op, AtArrow | ArrowAt | PGOverlap) && (left.is_list() || right.is_list()) {
            let (left, right) = if left.open {
                (left.cast(right.pg_type), right.expr)
            } else if right.open {
                let pg_type = left.pg_type;
                (left.expr, right.cast(pg_type))
            } else {
                (left.expr, right.expr)
            };
            let name = match op {
                PGOverlap => "lakegate_array_overlaps",
                _ => "lakegate_array_contains",
            };
            let args = if *op == ArrowAt {
                vec![right, left]
            } else {
                vec![left, right]
            };
            return Ok(Planned::Is(self.call(name, args)?));
        }
        // text is taken for json: stores without such a type keep it so
        let binary = left.is(&types::JSONB);
        let prefix = if binary { "lakegate_jsonb" } else { "lakegate_json" };
        let name = match op {
            Arrow => format!("{prefix}_get"),
            LongArrow => format!("{prefix}_text"),
            HashArrow => format!("{prefix}_path"),
            HashLongArrow => format!("{prefix}_path_text"),
            AtArrow => "lakegate_jsonb_contains".to_owned(),
            ArrowAt => {
                return Ok(Planned::Is(
                    self.call("lakegate_jsonb_contains", vec![right.expr, left.expr])?,
                ));
            }
            Question => "lakegate_jsonb_has".to_owned(),
            QuestionPipe => "lakegate_jsonb_has_any".to_owned(),
            QuestionAnd => "lakegate_jsonb_has_all".to_owned(),
            HashMinus => "lakegate_jsonb_delete_path".to_owned(),
            AtQuestion => "jsonb_path_exists".to_owned(),
            _ => return Ok(Planned::Not(left, right)),
        };
        Ok(Planned::Is(self.call(&name, vec![left.expr, right.expr])?))
    }

    fn pattern(&self, left: Operand, op: &BinaryOperator, right: Operand) -> DataFusionResult<Planned> {
        let (name, negated) = match op {
            BinaryOperator::PGRegexMatch => ("lakegate_regex", false),
            BinaryOperator::PGRegexIMatch => ("lakegate_iregex", false),
            BinaryOperator::PGRegexNotMatch => ("lakegate_regex", true),
            BinaryOperator::PGRegexNotIMatch => ("lakegate_iregex", true),
            BinaryOperator::PGStartsWith => ("starts_with", false),
            _ => return Ok(Planned::Not(left, right)),
        };
        let matched = self.call(name, vec![left.expr, right.expr])?;
        Ok(Planned::Is(if negated {
            Expr::Not(Box::new(matched))
        } else {
            matched
        }))
    }
}

enum Planned {
    Is(Expr),
    /// DataFusion's own meaning.
    Not(Operand, Operand),
}

fn no_operator(left: &Operand, symbol: &str, right: &Operand) -> FederationError {
    let name = |operand: &Operand| {
        PgType {
            typmod: -1,
            ..operand.pg_type
        }
        .sql_name()
    };
    FederationError::from(Cause::NoSuchOverload {
        message: format!("operator does not exist: {} {symbol} {}", name(left), name(right)),
    })
    .with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// A literal of the type that it is compared with.
fn compared_literal(literal: Operand, other: &Operand) -> Operand {
    let pg_type = other.pg_type;
    let nested = other.field.data_type().is_nested() && !pg_type.array;
    if other.is_text() && pg_type.base.oid != types::BPCHAR.oid || nested || other.is_null() {
        return literal;
    }
    let pg_type = PgType {
        typmod: -1,
        ..pg_type
    };
    let expr = literal.cast(pg_type);
    Operand {
        field: Arc::clone(&other.field),
        pg_type,
        expr,
        open: false,
    }
}

/// String literals of an arithmetic operator with the type that it wants of them.
fn resolve_open(
    left: Operand,
    right: Operand,
    op: Operator,
) -> (DataFusionResult<Operand>, DataFusionResult<Operand>) {
    let typed = |literal: Operand, other: &Operand| {
        let base: &'static BaseType = match (other.oid(), op) {
            // there is no sum of two points in time: the literal is the interval
            (1082 | 1114 | 1184 | 1083, Operator::Plus) => &types::INTERVAL,
            (1186, Operator::Multiply | Operator::Divide) => &types::FLOAT8,
            _ => other.pg_type.base,
        };
        let pg_type = PgType::scalar(base);
        let expr = literal.cast(pg_type);
        let field = expr.to_field(&DFSchema::empty()).map(|(_, field)| field)?;
        Ok(Operand {
            pg_type,
            field,
            expr,
            open: false,
        })
    };
    let wants = |operand: &Operand| operand.is_number() || operand.is_time();
    let literal = |operand: &Operand| operand.open && !operand.is_null();
    if literal(&left) && wants(&right) {
        (typed(left, &right), Ok(right))
    } else if literal(&right) && wants(&left) {
        let typed = typed(right, &left);
        (Ok(left), typed)
    } else {
        (Ok(left), Ok(right))
    }
}

/// An integer as the decimal with its digits: of a literal no more than are written.
fn decimal(operand: Operand) -> Operand {
    if !operand.is_integer() {
        return operand;
    }
    let value = match &operand.expr {
        Expr::Literal(ScalarValue::Int32(Some(value)), None) => i64::from(*value),
        Expr::Literal(ScalarValue::Int64(Some(value)), None) => *value,
        _ => {
            let digits = match operand.field.data_type() {
                DataType::Int8 | DataType::UInt8 => 3,
                DataType::Int16 | DataType::UInt16 => 5,
                DataType::Int32 | DataType::UInt32 => 10,
                _ => 20,
            };
            let data_type = DataType::Decimal128(digits, 0);
            return Operand {
                pg_type: types::of_data_type(&data_type),
                field: Arc::new(Field::new("", data_type.clone(), operand.field.is_nullable())),
                expr: Expr::Cast(Cast::new(Box::new(operand.expr), data_type)),
                open: false,
            };
        }
    };
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as u8 + 1;
    let data_type = DataType::Decimal128(digits, 0);
    Operand {
        pg_type: types::of_data_type(&data_type),
        field: Arc::new(Field::new("", data_type, false)),
        expr: Expr::Literal(ScalarValue::Decimal128(Some(i128::from(value)), digits, 0), None),
        open: false,
    }
}

fn comparison_operator(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

fn arithmetic_operator(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        _ => return None,
    })
}

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        // what a parameter is, its other side says
        if is_open_parameter(&expr.left) || is_open_parameter(&expr.right) {
            return Ok(PlannerResult::Original(expr));
        }
        let RawBinaryExpr { op, left, right } = expr;
        let (left, right) = (Operand::new(left, schema)?, Operand::new(right, schema)?);
        let planned = if let Some(operator) = comparison_operator(&op) {
            self.comparison(left, operator, right)?
        } else if let Some(operator) = arithmetic_operator(&op) {
            self.arithmetic(left, operator, right)?
        } else {
            match op {
                BinaryOperator::StringConcat => self.concatenation(left, right)?,
                BinaryOperator::And | BinaryOperator::Or => {
                    let truth = |operand: Operand| {
                        if operand.open && !operand.is_null() {
                            operand.cast_to(&types::BOOL)
                        } else {
                            operand.expr
                        }
                    };
                    let operator = if op == BinaryOperator::And {
                        Operator::And
                    } else {
                        Operator::Or
                    };
                    Planned::Is(binary(truth(left), operator, truth(right)))
                }
                BinaryOperator::PGExp => Planned::Is(self.call("power", vec![left.expr, right.expr])?),
                BinaryOperator::PGRegexMatch
                | BinaryOperator::PGRegexIMatch
                | BinaryOperator::PGRegexNotMatch
                | BinaryOperator::PGRegexNotIMatch
                | BinaryOperator::PGStartsWith => self.pattern(left, &op, right)?,
                _ => self.containment(left, &op, right)?,
            }
        };
        Ok(match planned {
            Planned::Is(expr) => PlannerResult::Planned(expr),
            Planned::Not(left, right) => PlannerResult::Original(RawBinaryExpr {
                op,
                left: left.expr,
                right: right.expr,
            }),
        })
    }

    fn plan_extract(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        let [Expr::Literal(ScalarValue::Utf8(Some(field)), _), value] = args.as_slice() else {
            return Ok(PlannerResult::Original(args));
        };
        let name = format!("lakegate_extract {}", field.to_lowercase());
        let function = crate::functions::extract(&name).map_err(DataFusionError::from)?;
        Ok(PlannerResult::Planned(function.call(vec![value.clone()])))
    }

    fn plan_position(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.call("strpos", args)?))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        let args = args.into_iter().map(narrow).collect();
        Ok(PlannerResult::Planned(self.call("substring", args)?))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        let args = args.into_iter().map(narrow).collect();
        Ok(PlannerResult::Planned(self.call("overlay", args)?))
    }

    fn plan_array_literal(
        &self,
        exprs: Vec<Expr>,
        schema: &DFSchema,
    ) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        // string literals beside typed elements have the elements' type
        let operands = exprs
            .into_iter()
            .map(|expr| Operand::new(expr, schema))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let typed = operands
            .iter()
            .find(|operand| !operand.open && !operand.is_null() && !operand.is_text() && !operand.is_list())
            .map(|operand| operand.pg_type);
        let exprs = operands
            .into_iter()
            .map(|operand| match typed {
                Some(pg_type) if operand.open && !operand.is_null() => operand.cast(pg_type),
                _ => operand.expr,
            })
            .collect();
        Ok(PlannerResult::Original(exprs))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> DataFusionResult<PlannerResult<RawFieldAccessExpr>> {
        let list = matches!(
            expr.expr.get_type(schema)?,
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _)
        );
        match &expr.field_access {
            // jsonb has subscripts, too
            GetFieldAccess::ListIndex { key } if !list => Ok(PlannerResult::Planned(self.call(
                "lakegate_jsonb_get",
                vec![expr.expr, narrow(key.as_ref().clone())],
            )?)),
            GetFieldAccess::NamedStructField { name }
                if matches!(expr.expr.get_type(schema)?, DataType::Utf8) =>
            {
                let key = Expr::Literal(name.clone(), None);
                Ok(PlannerResult::Planned(
                    self.call("lakegate_jsonb_get", vec![expr.expr, key])?,
                ))
            }
            GetFieldAccess::ListIndex { key } => Ok(PlannerResult::Planned(
                self.call("lakegate_element", vec![expr.expr, narrow(key.as_ref().clone())])?,
            )),
            GetFieldAccess::ListRange { start, stop, .. } => Ok(PlannerResult::Planned(self.call(
                "lakegate_slice",
                vec![
                    expr.expr,
                    narrow(start.as_ref().clone()),
                    narrow(stop.as_ref().clone()),
                ],
            )?)),
            GetFieldAccess::NamedStructField { .. } => Ok(PlannerResult::Original(expr)),
        }
    }
}
