//! Operators by the types of their operands.
//!
//! A string literal takes the type that the operator wants of it, as in PostgreSQL. Where an operator of
//! DataFusion means the same it is kept, for the optimizer knows it and stores can be asked for it; the others are
//! functions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Cast};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::operand::{Operand, compared_literal, decimal, double, is_open_parameter, narrow, resolve_open};
use crate::cast::Target;
use crate::error::{Cause, FederationError};
use crate::functions::arithmetic::digits;
use crate::functions::{Library, cast};
use crate::types::{self, PgType};

/// Plans operators, EXTRACT, and subscripts.
#[derive(Debug)]
pub(crate) struct Operators {
    pub(crate) library: Arc<Library>,
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
            let wide = |operand: Operand| if both_real { operand.expr } else { double(operand) };
            return Ok(Planned::Is(binary(wide(left), op, wide(right))));
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
            return Err(no_operator(left.pg_type, "||", right.pg_type).into());
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

/// PostgreSQL's error for an operator that two types do not have.
pub(super) fn no_operator(left: PgType, symbol: &str, right: PgType) -> FederationError {
    FederationError::from(Cause::NoSuchOverload {
        message: format!(
            "operator does not exist: {} {symbol} {}",
            left.plain_name(),
            right.plain_name()
        ),
    })
    .with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
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
        if let BinaryOperator::And | BinaryOperator::Or = op {
            let truth = |expr: Expr| match &expr {
                Expr::Literal(ScalarValue::Utf8(Some(_)), None) => {
                    cast::call(expr, Target::of(PgType::scalar(&types::BOOL)))
                }
                _ => expr,
            };
            let operator = if op == BinaryOperator::And {
                Operator::And
            } else {
                Operator::Or
            };
            return Ok(PlannerResult::Planned(binary(
                truth(left),
                operator,
                truth(right),
            )));
        }
        let (left, right) = (Operand::new(left, schema)?, Operand::new(right, schema)?);
        let planned = if let Some(operator) = comparison_operator(&op) {
            self.comparison(left, operator, right)?
        } else if let Some(operator) = arithmetic_operator(&op) {
            self.arithmetic(left, operator, right)?
        } else {
            match op {
                BinaryOperator::StringConcat => self.concatenation(left, right)?,
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
