-- literals and their types
select 1, -1, 2147483647, 2147483648, -2147483648, 9223372036854775807
select 9223372036854775808, -9223372036854775808, -9223372036854775809
select 1.5, 0.10, 1e3, 1.5e-3, .5, 100.
select 1_000
--! newer: int4 = 1000
select 12345678901234567890.123456789
-- integer arithmetic
select 1 + 1, 5 - 7, 6 * 7
select 7 / 2, -7 / 2, 7 / -2, -7 / -2
select 7 % 2, -7 % 2, 7 % -2, -7 % -2
select mod(-7, 2), mod(7, -2)
select 2147483647 + 1
select -2147483647 - 2
select 2147483647 * 2
select 2147483647::bigint + 1
select 9223372036854775807 + 1
select -9223372036854775807 - 2
select 9223372036854775807 * 2
select 32767::smallint + 1::smallint
select 32767::smallint * 2::smallint
select 32767::smallint + 1
select 1::smallint + 1::bigint
select (-32768)::smallint / (-1)::smallint
select (-2147483648)::int / -1
select (-9223372036854775808)::bigint / -1
select (-2147483648)::int % -1
select - (-2147483648)::int
select - (-9223372036854775808)::bigint
select -(-32768)::smallint
select abs((-2147483648)::int)
select abs(-5), abs(-5.5), abs(-5.5::float8), abs((-5)::smallint), abs((-5)::bigint)
select 1 / 0
select 1 % 0
select 1::bigint / 0
select 1::smallint / 0::smallint
select mod(1, 0)
select 1.0 / 0
select 1.0 % 0
select 1.0::float8 / 0
select 0.0::float8 / 0
select 1::float4 / 0::float4
select case when false then 1 / 0 else 5 end
select 5 & 3, 5 | 3, 5 # 3, ~5, 1 << 4, 256 >> 4
select 1::bigint << 40, 1::smallint | 2::smallint
-- numeric arithmetic
select 1.5 + 2, 1.50 + 2.5, 1.5 - 2.25, 1.5 * 2.25, -1.5
select 1.5 + 2::bigint, 1 + 0.1
select 1.10 * 2.200
select 10.0 / 4, 1.0 / 3, 2.0 / 3, 100.0 / 3, 10000.0 / 3, 1 / 3.0
--! numeric-scale: numeric, numeric, numeric, numeric, numeric, numeric = 2.5000000000000000 | 0.3333333333333333 | 0.6666666666666667 | 33.3333333333333333 | 3333.3333333333333333 | 0.3333333333333333
select 22 / 7.0, 1000000.0 / 7
--! numeric-scale: numeric, numeric = 3.1428571428571429 | 142857.1428571428571429
select 1.00 / 1, 6.0 / 2
--! numeric-scale: numeric, numeric = 1.0000000000000000 | 3.0000000000000000
select 7.5 % 2, -7.5 % 2, 7.5 % -2, 10 % 3.3
select 0.1 + 0.2
select 0.1 + 0.2 = 0.3
select 99999999999999999999999999999999999999 + 1
select 99999999999999999999.99 * 99999999999999999999.99
--! numeric-overflow: error 22003
select 123456789.123456789 * 987654321.987654321
select 0.000000001 * 0.000000001
select 1e20 * 1e20
--! numeric-overflow: error 22003
select 3 * 1.0::float8, 1.5 * 2::float8, 1 / 3::float8
select 1.1::float8 + 2.2::float8
select 1::float4 + 1::float8, 1.1::float4 * 2
select 1::float4 + 1, 1::float4 * 1.5
-- rounding
select round(2.5), round(3.5), round(-2.5), round(2.4), round(-0.4)
select round(2.5::float8), round(3.5::float8), round(-2.5::float8), round(0.5::float8)
select round(1.005, 2), round(-1.005, 2), round(1234.567, -2), round(1234.567, 5), round(42, 2)
select round(5), round(5::bigint)
select round(150, -2)
select trunc(2.7), trunc(-2.7), trunc(1234.567, 2), trunc(1234.567, -2), trunc(2.7::float8)
select ceil(2.1), ceil(-2.1), floor(2.9), floor(-2.1), ceiling(2.1)
select ceil(2.1::float8), floor(-2.1::float8), ceil(2), floor(2)
select sign(-3), sign(0), sign(2.5), sign(-2.5::float8)
select div(7, 2), div(-7.5, 2), div(7.9, 2.5)
select gcd(12, 18), lcm(4, 6), gcd(-12, 18), gcd(0, 0)
select factorial(5)
select sqrt(4.0::float8), sqrt(2::float8), cbrt(27.0::float8)
--! last-digits: float8, float8, float8 = 2 | 1.4142135623730951 | 3
select sqrt(-1::float8)
select sqrt(4), sqrt(2), sqrt(16.0)
--! numeric-functions: float8, float8, float8 = 2 | 1.4142135623730951 | 4
select power(2, 10), power(2.0, 0.5), power(2::float8, -1::float8), 2 ^ 10, 2.0 ^ 3
--! numeric-functions: float8, float8, float8, float8, float8 = 1024 | 1.4142135623730951 | 0.5 | 1024 | 8
select exp(1::float8), exp(0), ln(10::float8), ln(10.0), log(100::float8), log(100.0), log(2.0, 64.0), log10(1000)
--! numeric-functions: float8, float8, float8, float8, float8, float8, float8, float8 = 2.718281828459045 | 1 | 2.302585092994046 | 2.302585092994046 | 2 | 2 | 6 | 3
select ln(0::float8)
select ln(-1::float8)
select pi()
select degrees(pi()), radians(180::float8)
select sin(0::float8), cos(0::float8), tan(0::float8), asin(1::float8), acos(1::float8), atan(1::float8), atan2(1, 1), cot(1::float8)
select sinh(0::float8), cosh(0::float8), tanh(0::float8)
select acos(2::float8)
select width_bucket(5.35, 0.024, 10.06, 5), width_bucket(5::float8, 0, 10, 5)
select greatest(1, 2, 3), least(1, 2, 3), greatest(1, 2.5), least('b', 'a'), greatest(1, null), least(null, null::int)
select scale(1.230), min_scale(1.230), trim_scale(1.230)
-- float output
select 1e15::float8, 1e16::float8, 1e-4::float8, 1e-5::float8, 123456789012345678::float8
select 0.1::float8, 1::float8 / 3, 100::float8, -0.0::float8
select 'NaN'::float8, 'Infinity'::float8, '-Infinity'::float8
select 1.1::float4, 1e10::float4, 16777217::float4, (1::float4 / 3)
select 'NaN'::float8 = 'NaN'::float8, 'NaN'::float8 > 1e300
select 1e308::float8 * 10
--! float-overflow: float8 = Infinity
select 1e-320::float8
-- numeric comparison
select 1 = 1.0, 1.0 = 1.00, 1 < 1.5, 2 > 1.5, 1.5 = 1.5::float8, 0.1 = 0.1::float8
select 1 <> 2, 1 != 2, 1 is distinct from null, null is not distinct from null
select 5 between 1 and 10, 5 not between symmetric 10 and 1
--! syntax: error 42601
select 3 in (1, 2, 3), 3 not in (1, 2), 3 in (1, null), 3 not in (1, null)
select 3.0 in (1, 2, 3), 2 in (1.5, 2.0)
select random() between 0 and 1
select to_hex(255), to_hex(-1), to_hex(4294967296)
select 0.5::numeric(3, 1) * 2
