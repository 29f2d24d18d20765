select x, row_number() over (order by x), rank() over (order by y), dense_rank() over (order by y), ntile(2) over (order by x) from (values (1, 1), (2, 1), (3, 2)) v(x, y) order by x
select x, percent_rank() over (order by x), cume_dist() over (order by x) from (values (1), (2), (2), (3)) v(x) order by x
select x, lag(x) over (order by x), lead(x) over (order by x), lag(x, 2) over (order by x), lag(x, 1, 0) over (order by x), lead(x, 1, -1) over (order by x) from (values (1), (2), (3)) v(x) order by x
select x, first_value(x) over w, last_value(x) over w, nth_value(x, 2) over w from (values (1), (2), (3)) v(x) window w as (order by x) order by x
select x, sum(x) over (order by x), sum(x) over (order by x rows between 1 preceding and current row), sum(x) over (order by x rows between unbounded preceding and unbounded following), sum(x) over (order by x desc) from (values (1), (2), (3)) v(x) order by x
select x, sum(x) over (order by x range between 1 preceding and 1 following), count(*) over (order by x range between 2 preceding and current row) from (values (1), (2), (4)) v(x) order by x
select g, x, sum(x) over (partition by g order by x), avg(x) over (partition by g), count(*) over (partition by g) from (values ('a', 1), ('a', 2), ('b', 5)) v(g, x) order by g, x
select x, sum(y) over (order by x groups between 1 preceding and current row) from (values (1, 1), (1, 2), (2, 3), (3, 4)) v(x, y) order by x, y
select x, sum(x) over (order by x rows between 1 preceding and 1 following exclude current row) from (values (1), (2), (3)) v(x) order by x
--! syntax: error 42601
select x, array_agg(x) over (order by x), string_agg(x::text, ',') over (order by x) from (values (1), (2), (3)) v(x) order by x
select x, max(x) over (order by x rows between 1 following and 2 following), min(x) over (order by x rows between 2 preceding and 1 preceding) from (values (1), (2), (3)) v(x) order by x
select g, sum(x), sum(sum(x)) over (order by g), rank() over (order by sum(x) desc) from (values ('a', 1), ('a', 2), ('b', 5)) v(g, x) group by g order by g
select * from (select x, row_number() over (partition by g order by x desc) as n from (values ('a', 1), ('a', 2), ('b', 5)) v(g, x)) t where n = 1 order by x
select x, sum(x) filter (where x > 1) over (order by x) from (values (1), (2), (3)) v(x) order by x
select d, sum(x) over (order by d range between interval '1 day' preceding and current row) from (values (date '2024-01-01', 1), (date '2024-01-02', 2), (date '2024-01-04', 4)) v(d, x) order by d
select x, lag(x) over (order by x nulls first), row_number() over (order by x desc) from (values (1), (null), (2)) v(x) order by x
select ntile(3) over (order by x) from (values (1), (2), (3), (4)) v(x) order by 1
select distinct sum(x) over () from (values (1), (2)) v(x)
select x, avg(x) over (order by x rows 2 preceding) from (values (1), (2), (4), (7)) v(x) order by x
--! numeric-scale: int4, numeric = 1 | 1.0000000000000000 ; 2 | 1.5000000000000000 ; 4 | 2.3333333333333333 ; 7 | 4.3333333333333333
select row_number() over () from (values (1), (2)) v(x)
