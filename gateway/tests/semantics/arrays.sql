select array[1,2,3], array['a','b'], array[1.5, 2], array[true, null], array[]::int[], array[1, null]
--! numeric-scale: _int4, _text, _numeric, _bool, _int4, _int4 = {1,2,3} | {a,b} | {1.5,2.0} | {t,NULL} | {} | {1,NULL}
select '{1,2,3}'::int[], '{a,b}'::text[], '{}'::int[], '{1,NULL}'::int[], '{"a b",c}'::text[], '{1.5,2}'::numeric[], '{t,f}'::bool[], '{2024-01-01}'::date[]
select '{1,2'::int[]
select '1,2'::int[]
select '{1,x}'::int[]
select array[1,2]::bigint[], array[1.5,2.5]::int[], array['1','2']::int[], array[1,2]::text[]
select array[1,2] || 3, 0 || array[1,2], array[1,2] || array[3,4], array[1] || null::int, array['a'] || 'b'::text, null::int[] || array[1]
select (array[1,2,3])[1], (array[1,2,3])[4], (array[1,2,3])[0], (array[1,2,3])[-1], (array['a','b'])[2]
select (array[1,2,3,4])[2:3], (array[1,2,3,4])[2:], (array[1,2,3,4])[:2], (array[1,2,3])[5:6]
select array_length(array[1,2,3], 1), array_length(array[]::int[], 1), cardinality(array[1,2]), cardinality(array[]::int[]), array_upper(array[1,2], 1), array_lower(array[1,2], 1), array_ndims(array[1,2]), array_dims(array[1,2])
select array_append(array[1,2], 3), array_prepend(0, array[1,2]), array_cat(array[1], array[2]), array_remove(array[1,2,1], 1), array_replace(array[1,2,1], 1, 9), array_position(array['a','b','c'], 'b'), array_positions(array[1,2,1], 1), array_position(array[1,2], 5), array_fill(7, array[3])
select array[1,2,3] @> array[1,3], array[1] <@ array[1,2], array[1,2] && array[2,3], array[1,2] && array[3], array[1,2] @> array[]::int[]
select array[1,2] = array[1,2], array[1,2] < array[1,3], array[1,2] <> array[2,1], array[1,2] > array[1], array[1, null] = array[1, null]
select 2 = any(array[1,2,3]), 5 = any(array[1,2,3]), 5 = any(array[1,null]), 2 <> all(array[1,3]), 2 > all(array[0,1]), 2 > any(array[3,1]), null = any(array[1]), 1 = any(array[]::int[]), 1 = any('{1,2}'), 'a' = any('{a,b}'::text[])
select 2 <> all(array[1,null]), 1 = all(array[]::int[])
select array(select x from (values (1),(2),(3)) v(x) order by x desc)
select array(select x from (values (1, 'b'), (2, 'a'), (3, 'c')) v(x, y) order by y desc limit 2), array(select distinct x from (values (2), (1), (2)) v(x) order by 1)
select array(select x from (values (1)) v(x) where false), array_agg(distinct x order by x desc), array_agg(distinct x) from (values (1), (null), (2), (1)) v(x)
select string_to_array('1,2,3', ',')::int[], array_to_string(string_to_array('a b', ' '), '-')
select array_agg(x order by x), array_agg(x order by x desc), array_agg(distinct x order by x) from (values (2),(1),(2)) v(x)
select array_agg(x) from (values (1)) v(x) where false
select array_agg(x), array_agg(x) filter (where x > 1) from (values (1), (2)) v(x)
select array_agg(x order by y desc nulls last) from (values ('a', 1), ('b', 2), ('c', null)) v(x, y)
select unnest(array[1,2,3])
select unnest(array['a','b']) as x, unnest(array[1,2,3]) as y
select * from unnest(array[1,2,3])
select * from unnest(array[1,2], array['a','b','c'])
select * from unnest(array[1,2], array['a','b','c']) as t(x, y)
select * from unnest(array['a','b']) with ordinality
select x, n from unnest(array['a','b']) with ordinality as t(x, n)
select u.x + 1 from unnest(array[1,2]) as u(x)
select x from unnest('{3,1,2}'::int[]) x order by x
select count(*) from unnest(null::int[]), (values (1)) v
select t.id, u.x from (values (1, array[1,2]), (2, array[]::int[]), (3, null)) t(id, a), unnest(t.a) u(x) order by 1, 2
select t.id, u.x from (values (1, array[1,2]), (2, array[]::int[]), (3, null)) t(id, a) left join lateral unnest(t.a) u(x) on true order by 1, 2
select t.id, u.x, u.n from (values (1, array['b','a'])) t(id, a) cross join lateral unnest(t.a) with ordinality u(x, n) order by 3
select id, unnest(a) from (values (1, array[1,2]), (2, array[3])) t(id, a) order by 1, 2
select array[[1,2],[3,4]], (array[[1,2],[3,4]])[2][1], array_length(array[[1,2],[3,4]], 2)
--! array-dimensions: json, int4, int4 = [[1,2],[3,4]] | 3 | 2
select '{{1,2},{3,4}}'::int[]
--! array-dimensions: error 0A000
select array_agg(array[x]) from (values (1),(2)) v(x)
--! array-dimensions: json = [[1],[2]]
select trim_array(array[1,2,3], 1)
select array_to_json(array[1,2])
select 'x' = any(string_to_array('x,y', ','))
select max(a), min(a) from (values (array[1,2]), (array[1,3])) v(a)
select a, count(*) from (values (array[1]), (array[1]), (array[2])) v(a) group by a order by a
