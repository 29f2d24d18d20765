-- order and limits
select x from (values (2), (null), (1)) v(x) order by x
select x from (values (2), (null), (1)) v(x) order by x desc
select x from (values (2), (null), (1)) v(x) order by x nulls first
select x from (values (2), (null), (1)) v(x) order by x desc nulls last
select x from (values (1), (2), (3), (4)) v(x) order by x limit 2 offset 1
select x from (values (1), (2), (3), (4)) v(x) order by x offset 2
select x from (values (1), (2), (3), (4)) v(x) order by x fetch first 2 rows only
select x from (values (1), (2), (3), (4)) v(x) order by x offset 1 row fetch next row only
select x from (values (1), (2), (2), (3)) v(x) order by x fetch first 2 rows with ties
--! with-ties: error 0A000
select x from (values (1), (2)) v(x) order by x limit all
select x from (values (1), (2)) v(x) limit null
select x from (values (1), (2)) v(x) limit 0
select x from (values (1), (2)) v(x) limit -1
select x as y from (values (2), (1)) v(x) order by y
select x, y from (values (1, 'b'), (2, 'a')) v(x, y) order by 2
select x from (values (1), (2), (3)) v(x) order by -x
select x from (values (1), (2), (3)) v(x) order by x % 2, x desc
select x from (values (1)) v(x) order by 3
-- distinct
select distinct x from (values (1), (2), (1), (null), (null)) v(x) order by x
select distinct on (g) g, x from (values ('a', 1), ('a', 2), ('b', 3), ('b', 1)) v(g, x) order by g, x desc
select distinct on (g) g, x from (values ('a', 2), ('a', 1), ('b', 3)) v(g, x) order by g, x
select distinct on (g % 2) g from (values (1), (2), (3), (4)) v(g) order by g % 2, g desc
select distinct on (g) g, x, h from (values ('a', 1, 'p'), ('a', 1, 'q')) v(g, x, h) order by g, x, h desc limit 1
-- set operations
select 1 union select 2 union select 1 order by 1
select 1 union all select 1
select 1 union select 2.5 order by 1
--! numeric-scale: numeric = 1.0 ; 2.5
select 1 union all select '2' order by 1
select null union select 1 order by 1
select 'a' union select null order by 1
select 1 union select 'a'
select x from (values (1), (2), (2)) v(x) intersect select 2
select x from (values (1), (2), (2)) v(x) except select 2
select x from (values (1), (2), (2), (2)) v(x) except all select 2 order by 1
select x from (values (1), (2), (2), (2)) v(x) intersect all select y from (values (2), (2)) w(y)
(select 2 limit 1) union all (select 1) order by 1
select 1 as a, 2 as b union select 3, 4 order by a desc
select date '2024-01-01' union select timestamp '2024-01-01 12:00' order by 1
select 1::smallint union select 2::bigint order by 1
select 1, 2 union select 1
-- values
values (1, 'a'), (2, 'b')
values (1), (2.5)
--! numeric-scale: numeric = 1.0 ; 2.5
values (1), (null)
values ('a'), (null)
select * from (values (1, 'x'), (2, 'y')) as v(id, name) where id > 1
select v.* from (values (1, 2)) v(a, b)
select column1, column2 from (values (1, 'x'))
--! newer: int4, text = 1 | x
-- joins
select a.x, b.y from (values (1), (2)) a(x) join (values (2, 'b'), (3, 'c')) b(x, y) on a.x = b.x
select a.x, b.y from (values (1), (2)) a(x) left join (values (2, 'b'), (3, 'c')) b(x, y) using (x) order by 1
select x, y from (values (1), (2)) a(x) full join (values (2, 'b'), (3, 'c')) b(x, y) using (x) order by x
select x, a.x as left_x, b.x as right_x, x + 1 as next from (values (1), (2)) a(x) full join (values (2, 'b'), (3, 'c')) b(x, y) using (x) where x > 1 order by x
select id from things where id = any ('{1,3}') order by id
select x, count(*) from (values (1), (2)) a(x) full join (values (2, 'b'), (3, 'c')) b(x, y) using (x) group by x having x < 3 order by x desc
select * from (values (1, 'p'), (2, 'q')) a(x, z) full join (values (2, 'b'), (3, 'c')) b(x, y) using (x) order by 1
select * from (values (1, 'p'), (2, 'q')) a(x, z) natural full join (values (2, 'b'), (3, 'c')) b(x, y) order by 1
--! outer-using: error 0A000
select * from (values (1), (2)) a(x) right join (values (2, 'b'), (3, 'c')) b(x, y) using (x) order by 1
select * from (values (1, 'p'), (2, 'q')) a(x, z) natural join (values (2, 'b'), (3, 'c')) b(x, y)
select * from (values (1), (2)) a(x) cross join (values ('a')) b(y) order by 1
select a.x, b.x from (values (1), (2)) a(x), (values (1), (2)) b(x) where a.x < b.x
select a.x from (values (1), (null)) a(x) join (values (1), (null)) b(x) on a.x = b.x
select a.x from (values (1), (null)) a(x) join (values (1), (null)) b(x) on a.x is not distinct from b.x order by 1
select a.x, b.y from (values (1), (2)) a(x) left join (values (1, 5)) b(x, y) on a.x = b.x and b.y > 9 order by 1
-- subqueries
select (select 1), (select max(x) from (values (1), (2)) v(x)), (select x from (values (1)) v(x) where false)
select (select x from (values (1), (2)) v(x))
select x from (values (1), (2), (3)) v(x) where x in (select y from (values (1), (3)) w(y)) order by x
select x from (values (1), (2), (3)) v(x) where x not in (select y from (values (1), (null)) w(y))
select x from (values (1), (2), (3)) v(x) where exists (select 1 from (values (2)) w(y) where y = x)
select x from (values (1), (2), (3)) v(x) where not exists (select 1 from (values (2)) w(y) where y = x) order by x
select x, (select count(*) from (values (1), (2)) w(y) where y < x) from (values (1), (2), (3)) v(x) order by x
--! correlated: error 42703
select x, (select y from (values (1, 'a'), (2, 'b')) w(k, y) where k = x) from (values (1), (2), (3)) v(x) order by x
select x from (values (1), (2), (3)) v(x) where x > all (select y from (values (1), (2)) w(y))
select x from (values (1), (2), (3)) v(x) where x = any (select y from (values (1), (2)) w(y)) order by x
select x from (values (1), (2), (3)) v(x) where x > (select avg(y) from (values (1), (2)) w(y)) order by x
select x from (values (1, 2), (2, 3)) v(x, y) where (x, y) in (select 1, 2)
select (select array_agg(y order by y) from (values (1, 'b'), (1, 'a'), (2, 'c')) w(k, y) where k = x) from (values (1), (2)) v(x) order by 1
-- lateral
select a.x, b.y from (values (1), (2)) a(x), lateral (select a.x * 10 as y) b order by 1
select a.x, b.y from (values (1), (2), (3)) a(x) cross join lateral (select w.y from (values (1, 'p'), (1, 'q'), (2, 'r')) w(k, y) where w.k = a.x order by w.y desc limit 1) b order by 1
select a.x, b.y from (values (1), (2), (3)) a(x) left join lateral (select w.y from (values (1, 'p'), (1, 'q'), (2, 'r')) w(k, y) where w.k = a.x order by w.y limit 1) b on true order by 1
select a.x, b.n from (values (1), (2)) a(x) cross join lateral (select count(*) as n from (values (1), (1), (2)) w(k) where w.k = a.x) b order by 1
select a.x, b.n from (values (1), (2)) a(x) left join lateral (select sum(k) as n from (values (1), (1)) w(k) where w.k = a.x) b on true order by 1
select a.x, b.y from (values (1), (2)) a(x) join lateral (select w.y from (values (1, 'p'), (2, 'r')) w(k, y) where w.k = a.x) b on true order by 1
select a.x, b.y, b.z from (values (1), (2), (3)) a(x), lateral (select y, k || y as z from (values (1, 'p'), (1, 'q'), (1, 'r'), (2, 's'), (null, 't')) w(k, y) where w.k = a.x and y <> 'q' order by y desc limit 1 offset 1) b order by 1
select a.x, b.y from (values (1), (2), (3)) a(x) left join lateral (select w.y from (values (1, 'p'), (1, 'q'), (2, 'r')) w(k, y) where a.x = w.k order by length(w.y), w.y desc limit 1) b on b.y <> 'r' order by 1
select a0.id, b0.id, b0.t from things a0, lateral (select w0.id, w0.t from things w0 where w0.i4 = a0.i4 and w0.b order by w0.f8 limit 2) b0 order by 1, 2
-- common table expressions
with t as (select 1 as x union all select 2) select sum(x) from t
with t(a, b) as (values (1, 2)) select a + b from t
with recursive t(n) as (values (1) union all select n + 1 from t where n < 5) select sum(n), count(*) from t
with recursive t(n, path) as (select 1, 'x' union all select n + 1, path || 'x' from t where n < 3) select * from t order by n
with recursive t(n) as (select 1 union select n % 3 + 1 from t) select * from t order by n
with recursive t(n, f) as (select 1, 1::numeric union all select n + 1, f * (n + 1) from t where n < 5) select max(f) from t
--! recursive-numeric: error 22003
with a as (select 1 as x), b as (select x + 1 as y from a) select * from a, b
with t as materialized (select 1 as x) select * from t
-- rows and conditions
select (1, 2) = (1, 2), (1, 2) < (1, 3), (1, 2) < (2, 1), row(1, 'a') = row(1, 'a'), (1, null) = (1, null), (1, 2) <> (1, 3), (2, 1) > (1, 9)
select (1, 2) in ((1, 2), (3, 4)), (1, 2) is null, (null, null) is null
select row(1, 'a', null)
--! record: json = {\"c0\":1,\"c1\":\"a\",\"c2\":null}
select x from (values (1, 'a'), (2, 'b')) v(x, y) where (x, y) > (1, 'a')
select null = null, null <> 1, null and false, null or true, not null, true and null
select 1 is null, null is null, 1 is not null, true is true, null is not true, null is unknown, false is false
select null in (1), 1 in (null), 1 not in (2, null), not (1 in (1, null))
select true > false, true::text || 'x', not true
select 'a' is distinct from 'b', 1 is not distinct from 1
select case when null then 1 else 2 end
select x from (values (1), (2)) v(x) where null
select x from (values (1), (2)) v(x) where x
select 1 where 1
select 1 where true and not false
select count(*) from (values (1), (null)) v(x) where x <> 1
select exists (select 1 where false), not exists (select 1)
select * from (select 1 as a, 2 as a) t
select "A" from (select 1 as "A") t
select t.x as "Mixed Case" from (values (1)) t(x)
select nosuch from (values (1)) t(x)
select nosuch(1)
select * from nosuch
select 1 +
select x, count(*) from (values (1), (1)) v(x) group by x having count(*) > 1
select 1 as x group by x
select x + 1 as y from (values (1), (2)) v(x) group by y order by y
select upper(x) as u, count(*) from (values ('a'), ('A'), ('b')) v(x) group by upper(x) order by u
select pg_typeof(1), pg_typeof(1.5), pg_typeof('a'), pg_typeof(null), pg_typeof(array[1]), pg_typeof('{}'::jsonb), pg_typeof(1::bigint), pg_typeof(true), pg_typeof('a'::varchar(5))
--! regtype: text, text, text, text, text, text, text, text, text = integer | numeric | text | unknown | integer[] | jsonb | bigint | boolean | character varying
table nosuch
--! syntax: error 42601
select num_nulls(1, null), num_nonnulls(1, null)
