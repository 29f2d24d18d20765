-- over columns of a table, read through the connector, with push-down on and off
select id, i2, i4, i8, n, f4, f8, b, t, d, ts, tstz from things order by id
select i4 + 1, i4 / 2, i4 % 2, i4 * i8, i2 + i4, -i4 from things order by id
select id from things where i4 + 1 = 3
select id from things where i4 / 2 = 1 order by id
select id from things where i4 = '2'
select id from things where i8 in ('20', '30') order by id
select id from things where n = 1.50
select id from things where n > '2' order by id
select id from things where n between 1 and 3 order by id
select id from things where f8 = 0.1
select id from things where t = 'b'
select id from things where t > 'B' order by id
select id from things where t in ('a', 'B') order by id
select id from things where t like 'a%' order by id
select id from things where t ilike 'A%' order by id
select id from things where t is null
select id from things where d = '2024-02-29'
select id from things where d > '2024-01-01' order by id
select id from things where d >= timestamp '2024-02-29 00:00:01' order by id
select id from things where d < timestamp '2024-02-29 12:00:00' order by id
select id from things where d <= date '2024-03-01' - interval '1 day' order by id
select id from things where d = timestamp '2024-02-29 12:00:00'
select id from things where d <> timestamp '2024-02-29 12:00:00' order by id
select id from things where ts >= '2024-02-29' order by id
select id from things where ts = date '2024-01-01'
select id from things where ts::date = '2024-02-29'
select id from things where date_trunc('month', ts) = '2024-02-01'
select id from things where extract(year from ts) = 2024 order by id
select id from things where tstz = '2024-02-29 12:34:56+00'
select id from things where tstz > '2024-02-29' order by id
select id from things where tstz at time zone 'Asia/Seoul' > '2024-02-29 21:00' order by id
set timezone = 'America/New_York'
select id, tstz, tstz::date, date_trunc('day', tstz), extract(hour from tstz), tstz at time zone 'UTC', tstz + interval '1 day' from things order by id
select id from things where tstz = '2024-02-29 07:34:56'
select id from things where tstz::date = '2024-02-29'
select id from things where tstz >= date '2024-02-29' order by id
set timezone = 'UTC'
select id from things where b order by id
select id from things where b = 't' order by id
select id from things where not b
select id from things where b is not true order by id
select sum(i2), sum(i4), sum(i8), sum(n), sum(f8), avg(i4), avg(n), avg(f8), min(t), max(t), count(distinct b) from things
--! numeric-scale: int8, int8, numeric, numeric, float8, numeric, numeric, float8, text, text, int8 = 6 | 6 | 60 | 0.75 | NaN | 2.0000000000000000 | 0.2500000000000000 | NaN | B | b | 2
select b, count(*), sum(i4), avg(n), min(d), max(ts) from things group by b order by b
--! numeric-scale: bool, int8, int8, numeric, date, timestamp = f | 1 | 2 | 2.2500000000000000 | 2024-02-29 | 2024-02-29 12:34:56.789 ; t | 2 | 1 | 1.5000000000000000 | 2024-01-01 | 2024-01-01 00:00:00 ; NULL | 1 | 3 | -3.0000000000000000 | 2024-03-01 | 2024-03-01 23:59:59.999999
select b, count(*) filter (where i4 > 1), sum(n) filter (where t = 'a' or n < 0), max(ts) filter (where id < 3), avg(i8) filter (where i2 is not null), count(distinct i4) filter (where d >= date '2024-02-01') from things group by b order by b
select count(*) filter (where t like '_'), min(t) filter (where t <> 'a'), bool_or(b) filter (where i4 = 2), sum(i8) filter (where false) from things
select date_trunc('month', ts) as m, count(*), sum(n) from things group by 1 order by 1
select date_trunc('quarter', ts) as q, b, count(*) from things where id > 0 group by 1, 2 order by 1 desc nulls last, 2 limit 3
select date_trunc('month', d) as m, count(*) from things group by 1 order by 1
select date_trunc('hour', tstz) as h, count(*) from things group by 1 order by 1
select i4::bigint + i2::bigint as s, count(*) from things group by 1 order by 1
select i4 + i2 as s, count(*) from things group by 1 order by 1
select n * 2 as p, min(t) from things group by 1 order by 1
select stddev(i4), var_pop(n), stddev_samp(f8) from things
--! numeric-scale: numeric, numeric, float8 = 1.0000000000000000 | 5.3750000000000000 | NaN
select t, i4 from things order by t, i4
select t from things order by t desc nulls last limit 2
select id from things order by i4 desc limit 2
select id, n / 3, n * 1.1, round(n / 3, 2), n::int, f8::int, f8::numeric(10, 2) from things order by id
select id, i4::text || t, upper(t), length(t), coalesce(t, '?'), concat(t, i4) from things order by id
select id, i8 * 4611686018427387904 from things where id = 1
select sum(i4 * n), sum(n * (1 - n)), sum(case when b then i4 else 0 end) from things
select id, a, a[1], array_length(a, 1), 1 = any(a), a || 9 from things order by id
select id, x from things, unnest(a) x order by 1, 2
select id, j, j ->> 'k', j -> 'l' -> 0, jb, jb ->> 'k', jb @> '{"k": "v"}', jb ? 'k' from things order by id
select id from things where j ->> 'k' = 'v' order by id
select id from things where jb @> '{"k": "v"}' order by id
select u, u = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', by from things order by id
select id from things where u = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'
select id, c, c = 'ab', length(c), c || '|' from things order by id
select id, iv from things order by id
select a.id, b.id from things a join things b on a.i4 = b.i2 + 1 order by 1, 2
select id, i4 > 1 and n < 3, i4 = 1 or t = 'b' from things order by id
select id, tm, tm + interval '1 hour' from things order by id
select id, num from things order by id
--! numeric-scale: int4, numeric = 1 | 1.5 ; 2 | 2.25 ; 3 | 1000000.000001 ; 4 | NULL
select sum(num::numeric), max(num::numeric) from things
select distinct on (b) b, id from things order by b, id desc
select id, lag(i4) over (order by id), sum(n) over (order by id) from things order by id
select x.y from things, lateral (select things.i4 * 2 as y) x order by 1
-- correlated
select id, (select sum(w0.i4) from things w0 where w0.i4 <= v0.i4) as running from things v0 order by id
--! correlated: error 0A000
select id, (select w0.t from things w0 where w0.i4 = v0.i4) as q from things v0 order by id
select id from things v0 where i4 = (select max(i4) from things w0 where w0.b = v0.b) order by id
select id, exists (select 1 from things w0 where w0.i4 > v0.i4) as q from things v0 order by id
--! correlated: error 0A000
select id from things where b or exists (select 1 from things w0 where w0.i4 = things.id and w0.b) order by id
select a0.id, b0.m from things a0 left join lateral (select max(w0.f8) as m from things w0 where w0.i4 < a0.i4) b0 on true order by 1
--! correlated: error 42703
-- text in all but its name
select id from things where u = 'zz'
select id, u from things where u in ('B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12', 'a0eebc999c0b4ef8bb6d6bb9bd380a11') order by u desc
select count(distinct u), min(c), max(jb::text) from things
--! char-lengths: int8, text, text = 2 | ab   | {\"k\": 1}
select a0.id, b0.id from things a0 join things b0 on a0.u = b0.u and a0.c = b0.c order by 1
select id, c like 'ab', c like 'ab%', upper(c) || '.', c::varchar || '.', concat(c, '.') from things order by id
select id from things where c in ('ab', 'cd ') order by id
select id from things where c not in ('ab   ', 'x') order by id
select id from things where c in (v, 'cd'::text, c) order by id
select count(*) from things where c = 'ab  '
select count(*) from things where c = 'ab      '
select count(*) from things where c = 'ab  '::text
select count(*) from things where c <> 'ab' and c <> 'toolong'
select id from things where c between 'ab' and 'cd' order by id
select id, case c when 'ab' then 1 else 2 end from things order by id
select id, c is distinct from 'ab', nullif(c, 'ab'), c = any (array['ab', 'cd']) from things order by id
select c, count(*) from (select c from things union all select 'ab'::char(2)) x where c = 'ab' group by c
--! char-lengths: bpchar, int8 = ab | 1
select count(distinct c), count(c) from things where c > 'aa'
select a.id from things a join things b using (c) order by 1
select count(*) from things a join (select 1 as n, 'ab'::char(2) as c) b using (c)
--! char-lengths: int8 = 0
select c from things order by c desc nulls last limit 1
select c, count(*) from things group by c order by c
select jb, count(*) from things group by jb order by 2, 1
--! json-order: jsonb, int8 = [] | 1 ; {\"k\": \"v\", \"l\": [1, 2]} | 1 ; {\"k\": 1} | 1 ; NULL | 1
select id, jb = '{"k": 1}', jb -> 'k', j #>> '{l,0}' from things order by id
select id, coalesce(c, 'none'), case when b then u end from things order by id
select u from things union select 'c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13' order by 1
select id, num > 1, num + 1 from things order by id
--! numeric-scale: int4, bool, numeric = 1 | t | 2.5 ; 2 | t | 3.25 ; 3 | t | 1000001.000001 ; 4 | NULL | NULL
select id, iv > '1 hour' from things order by id
-- a numeric without precision, and text beside what is none
select id from things where num > 1 order by id
select id from things where num = 1.5 order by id
select 'a'::text > 1
select id from things where t < 5
select id from things where iv = interval '1 day' order by id
select id from things where num between 1 and 3 order by id
select id from things where num in (1.5, 2) order by id
select id, case num when 1.5 then 'x' end, coalesce(num, 0), nullif(num, 1.5), greatest(num, 2) from things order by id
--! numeric-scale: int4, text, numeric, numeric, numeric = 1 | x | 1.5 | NULL | 2 ; 2 | NULL | 2.25 | 2.25 | 2.25 ; 3 | NULL | 1000000.000001 | 1000000.000001 | 1000000.000001 ; 4 | NULL | 0 | NULL | 2
select sum(num) from things
select avg(num), min(num), max(num) from things
--! numeric-scale: numeric, numeric, numeric = 333334.58333366666666666666666666666666666667 | 1.5 | 1000000.000001
select id from things order by num desc nulls last limit 1
select id from things a join (values (1.5), (2.25)) b(x) on a.num = b.x order by 1
select count(distinct num), count(*) from (select num from things union all select num * 1.0 from things) x
select id from things where num = 1.5::float8 or num = 2.25::float8 order by id
select num::float8 * 2, num * 0.5::float8 from things where id = 1
select num, count(*) from things group by num having sum(num) > 2 order by num desc
--! numeric-scale: numeric, int8 = 1000000.000001 | 1 ; 2.25 | 1
select round(num, 2), trunc(num), num::int from things order by id
select id from things where id = t
select id from things where t in (1, 2)
select id from things where t between 1 and 2
select id from things where b = t
select id from things where t = current_date
select id from things where t is distinct from 1
select case when id > 1 then t else id end from things
select case t when 1 then 2 end from things
select coalesce(t, 0) from things
select nullif(t, 0) from things
select greatest(t, 1) from things
select t from things union select id from things
select id from things where t in (select id from things)
select id from things where id in (select t from things)
select a.id from things a join things b on a.t = b.id
select a.id from things a join (select id as t from things) b using (t)
select t from things intersect select id from things
select id from things where u = t
select id from things where t = any (array[1, 2])
select id, x from longs order by id
--! numeric-columns: int4, text = 1 | 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000.000 ; 2 | 2.500
select id from longs where x > 1
--! numeric-columns: error 42883
select id, iv, iv * 2, iv + interval '1 hour', d + iv, ts - iv from things order by id
select id from things order by iv desc nulls last, id
select min(iv), max(iv), sum(iv), avg(iv), count(iv), count(distinct iv) from things
select iv, count(*) from things group by iv order by iv
select id, iv = '24 hours', iv between '0' and '1 month', iv in ('1 day', '720:00:00'), extract(epoch from iv) from things order by id
select a.id, b.id from things a join things b on a.iv = b.iv order by 1, 2
select id, rank() over (order by iv desc nulls last) from things order by id
select distinct iv from (select iv from things union all select '24 hours'::interval) x order by iv, iv::text desc
--! interval-groups: interval = -1 days ; 24:00:00 ; 1 day ; 1 mon 02:00:00 ; NULL
select iv::text, to_char(iv, 'HH24:MI'), justify_days(iv), coalesce(iv, interval '0') from things order by id
select coalesce(iv, '0') from things order by id
--! interval-literals: error 42883
select array_agg(iv order by iv) from things
select array_agg(x order by x), min(x), max(x) from (values ('40 days'::interval), ('1 month'), ('-1 month 100 days'), ('1000 hours')) v(x)
select greatest('40 days'::interval, '1 month'::interval), least('40 days'::interval, '1 month'::interval)
--! interval-functions: error 0A000
select '30 days'::interval = any (array['1 month'::interval])
--! interval-functions: error 0A000
select greatest('40 days'::interval, '1 month')
--! interval-literals: error 42883
select max(x) over () from (values ('40 days'::interval), ('1 month')) v(x)
--! interval-functions: error 0A000
select min(x) filter (where x > '1 month'), max(distinct x) from (values ('40 days'::interval), ('1 month'), (null)) v(x)
select b, min(iv), max(iv) from things group by b having max(iv) > '1 hour' order by 1
select x, rank() over (order by x), count(*) over (partition by x) from (values ('40 days'::interval), ('1 month'), ('30 days'), ('1000 hours')) v(x) order by x, x::text
select x, sum(1) over (order by x desc) from (values ('40 days'::interval), ('1 month'), ('1000 hours')) v(x) order by x
select id, iv in ('24:00:00', '30 days'), iv is distinct from interval '24:00:00', case iv when interval '24:00:00' then 'a day' end from things order by id
select '30 days'::interval in ('1 day'::interval, '1 month'), nullif('30 days'::interval, '1 month'::interval)
