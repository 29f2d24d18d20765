select * from generate_series(1, 3)
select * from generate_series(1, 10, 4)
select * from generate_series(3, 1)
select * from generate_series(3, 1, -1)
select * from generate_series(1, 3, 0)
select x from generate_series(1, 3) x
select g.x * 2 from generate_series(1, 3) as g(x)
select * from generate_series(1::bigint, 3)
select * from generate_series(1.5, 3)
select * from generate_series(0, 1, 0.5)
--! numeric-scale: numeric = 0.0 ; 0.5 ; 1.0
select * from generate_series(null, 3)
select * from generate_series(1, 3) with ordinality
select * from generate_series(date '2024-01-30', date '2024-02-02', interval '1 day')
select d::date from generate_series(date '2024-01-31', date '2024-05-31', '1 month') d
select * from generate_series(timestamp '2024-01-01', timestamp '2024-01-02', interval '8 hours')
select count(*), min(x), max(x) from generate_series(timestamptz '2024-01-01 00:00+00', timestamptz '2024-12-31 00:00+00', '1 day') x
select generate_series(1, 3)
select generate_series(1, 3) * 2
select generate_series(1, 2), generate_series(1, 3)
select x, generate_series(1, x) from (values (1), (2)) v(x) order by 1, 2
select x, y from generate_series(1, 2) x, generate_series(1, 2) y order by 1, 2
select v.x, g.n from (values (1), (3)) v(x), generate_series(1, v.x) g(n) order by 1, 2
select v.x, g.n from (values (0), (2)) v(x) left join lateral generate_series(1, v.x) g(n) on true order by 1, 2
select v.x, g.n from (values (1), (3)) v(x) cross join generate_series(1, v.x) g(n) order by 1, 2
select sum(x) from generate_series(1, 100000) x
select d.d::date, coalesce(sum(o.v), 0) from generate_series('2024-01-01'::date, '2024-01-03', '1 day') d(d) left join (values (date '2024-01-01', 5), (date '2024-01-03', 7)) o(d, v) on o.d = d.d group by 1 order by 1
select * from generate_series(1, 5) x where x % 2 = 0
select array_agg(x) from generate_series(1, 5) x
select date_trunc('month', d)::date as m, count(*) from generate_series(date '2024-01-01', date '2024-03-01', '1 day') d group by 1 order by 1
select to_char(d, 'YYYY-MM-DD') from generate_series(date '2024-01-01', date '2024-01-02', '1 day'::interval) d
select * from generate_subscripts(array['a', 'b', 'c'], 1)
select x from generate_series(1, 3) as x order by x desc limit 2
