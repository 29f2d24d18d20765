select sum(x), sum(x::smallint), sum(x::bigint), sum(x::numeric), sum(x::float8), sum(x::float4) from (values (1), (2), (3)) v(x)
select avg(x), avg(x::smallint), avg(x::bigint), avg(x::numeric), avg(x::float8), avg(x::float4) from (values (1), (2)) v(x)
select avg(x) from (values (1), (2), (2)) v(x)
select avg(x), sum(x) from (values (1.50), (2.25)) v(x)
select avg(x) from (values (10000), (10001)) v(x)
select avg(x) from (values (0), (1), (0)) v(x)
--! numeric-scale: numeric = 0.3333333333333333
select sum(x) from (values (9223372036854775807), (9223372036854775807)) v(x)
select sum(x) from (values (2147483647), (2147483647)) v(x)
select count(*), count(x), count(distinct x), sum(distinct x), avg(distinct x) from (values (1), (1), (2), (null)) v(x)
select min(x), max(x) from (values (3), (1), (2)) v(x)
select min(x), max(x) from (values (1.5), (2.25)) v(x)
--! numeric-scale: numeric, numeric = 1.50 | 2.25
select min(x), max(x), min(x::timestamp), max(x::text) from (values (date '2024-01-01'), (date '2024-02-01')) v(x)
select sum(x), avg(x), min(x), count(x), count(*) from (values (1)) v(x) where false
select sum(x) + 1 from (values (1), (null::int)) v(x)
select sum(null::int), avg(null::int), count(null)
select bool_and(x), bool_or(x), every(x) from (values (true), (false), (null)) v(x)
select bool_and(x) from (values (true)) v(x) where false
select bit_and(x), bit_or(x), bit_xor(x) from (values (5), (3)) v(x)
select string_agg(x, ',' order by x desc), string_agg(distinct x, ',' order by x), string_agg(x, '' order by x), string_agg(distinct x, ','), string_agg(distinct x, ',' order by x desc) from (values ('b'), ('a'), ('b')) v(x)
select string_agg(x, ',' order by n) from (values ('b', 2), ('a', 1), (null, 3)) v(x, n)
select string_agg(x::text, '-' order by x) filter (where x > 1) from (values (1), (3), (2)) v(x)
select string_agg(x, ',') from (values ('a')) v(x) where false
select sum(x) filter (where x > 1), count(*) filter (where x is null) from (values (1), (2), (3), (null)) v(x)
select stddev(x), stddev_pop(x), stddev_samp(x), variance(x), var_pop(x), var_samp(x) from (values (1), (2), (3), (4)) v(x)
select stddev(x), var_samp(x) from (values (1.5), (2.25), (4)) v(x)
select stddev(x), var_pop(x) from (values (1.5::float8), (2.25), (4)) v(x)
select stddev(x), var_samp(x), stddev_pop(x), var_pop(x) from (values (1)) v(x)
--! numeric-scale: numeric, numeric, numeric, numeric = NULL | NULL | 0.0000000000000000 | 0.0000000000000000
select percentile_cont(0.5) within group (order by x), percentile_disc(0.5) within group (order by x) from (values (1), (2), (3), (4)) v(x)
select percentile_cont(0.25) within group (order by x) from (values (1.0::float8), (2), (3), (4)) v(x)
select percentile_disc(0.9) within group (order by x desc) from (values ('a'), ('b'), ('c')) v(x)
select percentile_cont(array[0.25, 0.5]) within group (order by x) from (values (1), (2), (3), (4)) v(x)
select mode() within group (order by x) from (values (1), (2), (2), (3)) v(x)
select corr(y, x), covar_pop(y, x), covar_samp(y, x), regr_slope(y, x), regr_intercept(y, x), regr_count(y, x), regr_r2(y, x) from (values (1::float8, 2::float8), (2, 4), (3, 7)) v(x, y)
--! last-digits: float8, float8, float8, float8, float8, int8, float8 = 0.9933992677987828 | 1.6666666666666667 | 2.5 | 2.5000000000000004 | -0.6666666666666679 | 3 | 0.986842105263158
select g, sum(x), count(*) from (values ('a', 1), ('b', 2), ('a', 3), (null, 4)) v(g, x) group by g order by g
select g, sum(x) from (values ('a', 1), ('b', 2), ('a', 3)) v(g, x) group by g having sum(x) > 2 order by g
select g, h, sum(x), grouping(g), grouping(g, h) from (values ('a', 'x', 1), ('a', 'y', 2), ('b', 'x', 3)) v(g, h, x) group by rollup (g, h) order by g, h
select g, h, sum(x) from (values ('a', 'x', 1), ('a', 'y', 2), ('b', 'x', 3)) v(g, h, x) group by grouping sets ((g), (h), ()) order by g, h
select g, h, count(*) from (values ('a', 'x'), ('a', 'y')) v(g, h) group by cube (g, h) order by g, h
select x % 2 as p, array_agg(x order by x), string_agg(x::text, '+' order by x) from (values (1), (2), (3)) v(x) group by 1 order by p
select sum(x) / count(*), sum(x::bigint) / 2, avg(x) * 2 from (values (1), (2)) v(x)
select sum(a * b), sum(a * (1 - d)) from (values (2, 3, 0.10), (4, 5, 0.25)) v(a, b, d)
select sum(case when x > 1 then 1 else 0 end), sum(case when x > 1 then x end), count(case when x > 1 then 1 end) from (values (1), (2), (3)) v(x)
select round(avg(x), 2), round(sum(x) / 3.0, 3) from (values (1), (2), (2)) v(x)
select max(length(x)), min(x || 'z') from (values ('a'), ('bb')) v(x)
select count(*) from (values (1, 'a'), (1, 'a'), (2, 'b')) v(x, y) where (x, y) in ((1, 'a'))
select count(distinct (x, y)) from (values (1, 'a'), (1, 'a'), (2, 'b')) v(x, y)
select sum(x) over () from (values (1), (2)) v(x)
select any_value(x) from (values (1)) v(x)
--! newer: int4 = 1
select x, sum(y) from (values (1, 2)) v(x, y)
select sum(sum(x)) from (values (1)) v(x)
select x from (values (1)) v(x) where sum(x) > 1
select array_agg(x), sum(y) from (values (1, 1.5), (2, 2.5)) v(x, y)
select max(x) - min(x) from (values (date '2024-01-01'), (date '2024-02-01')) v(x)
select min(b), max(b) from (values (true), (false)) v(b)
--! more: bool, bool = f | t
select sum('a')
--! error-codes: error 42883
select sum(true)
select avg(date '2024-01-01')
