select '{"a": 1, "b": [1, 2]}'::json, '{"b": 1,   "a": 2, "a": 3}'::jsonb, '[1,2]'::jsonb, '"x"'::json, 'null'::jsonb, '1.50'::jsonb, '1e2'::jsonb
select '{bad}'::json
select ''::jsonb
select '{"a": 1'::jsonb
select '{"a": {"b": "c"}}'::json -> 'a', '{"a": {"b": "c"}}'::json -> 'a' -> 'b', '{"a": {"b": "c"}}'::json -> 'a' ->> 'b', '{"a": 1}'::json ->> 'a', '{"a": null}'::json ->> 'a', '{"a": null}'::json -> 'a', '{"a": 1}'::json -> 'x'
select '[1, "two", null]'::json -> 0, '[1, "two"]'::json ->> 1, '[1, 2, 3]'::json -> -1, '[1]'::json -> 5, '{"a": 1}'::json -> 0, '[1]'::json -> 'a'
select '{"a": {"b": "c"}}'::jsonb -> 'a', '{"a": {"b": "c"}}'::jsonb -> 'a' ->> 'b', '[1, "two", null]'::jsonb -> 1, '[1, "two", null]'::jsonb ->> 1, '{"a": 1.50}'::jsonb ->> 'a'
select '{"a": [1, {"b": 2}]}'::json #> '{a,1,b}', '{"a": [1, {"b": 2}]}'::json #>> '{a,1,b}', '{"a": [1, {"b": 2}]}'::jsonb #> array['a', '0'], '{"a": [1, {"b": 2}]}'::jsonb #>> '{a,x}'
select ('{"a": 5}'::json ->> 'a')::int + 1, ('{"a": "2024-01-02"}'::jsonb ->> 'a')::date
select '{"a": 1, "b": 2}'::jsonb @> '{"a": 1}', '{"a": 1}'::jsonb @> '{"a": 2}', '[1, 2, 3]'::jsonb @> '[3, 1]', '{"a": {"b": 1, "c": 2}}'::jsonb @> '{"a": {"b": 1}}', '{"a": 1}'::jsonb <@ '{"a": 1, "b": 2}', '[1, 2]'::jsonb @> '1'
select '{"a": 1, "b": 2}'::jsonb ? 'a', '["x", "y"]'::jsonb ? 'x', '{"a": 1}'::jsonb ?| array['x', 'a'], '{"a": 1}'::jsonb ?& array['x', 'a']
select '{"a": 1}'::jsonb || '{"b": 2}', '[1]'::jsonb || '[2]', '{"a": 1, "b": 2}'::jsonb - 'a', '["a", "b"]'::jsonb - 0, '{"a": {"b": 1}}'::jsonb #- '{a,b}', '{"a": 1}'::jsonb || '[2]'::jsonb
select '{"a": 1, "b": [1, 2]}'::jsonb = '{"b": [1, 2], "a": 1.0}'::jsonb, '1'::jsonb < '2'::jsonb, '{"a": 1}'::jsonb <> '{}'::jsonb
select json_typeof('1'), json_typeof('"a"'), json_typeof('[]'), json_typeof('{}'), json_typeof('null'), jsonb_typeof('true')
select json_array_length('[1, 2, 3]'), jsonb_array_length('[]')
select jsonb_array_length('{"a": 1}')
select json_build_object('a', 1, 'b', 'x', 'c', null, 'd', true, 'e', 1.50), jsonb_build_object('b', 1, 'a', array[1, 2]), json_build_array(1, 'a', null, true), jsonb_build_array(1, 'x')
select json_build_object('d', date '2024-01-02', 't', timestamp '2024-01-02 03:04:05', 'j', '{"x": 1}'::json)
select to_json('a"b'::text), to_json(1), to_jsonb(1.50), to_json(true), to_jsonb(array[1, 2]), to_json(null::int), to_jsonb(date '2024-01-02')
select row_to_json(t) from (values (1, 'a')) t(id, name)
--! whole-row: error 42703
select to_jsonb(t) from (values (1, 'a')) t(id, name)
--! whole-row: error 42703
select json_agg(x order by x), jsonb_agg(x order by x desc), json_agg(s) from (values (1, 'a'), (2, 'b')) v(x, s)
select json_agg(x) from (values (1)) v(x) where false
select json_object_agg(k, v), jsonb_object_agg(k, v) from (values ('a', 1), ('b', 2)) t(k, v)
select json_agg(t order by t.id) from (values (1, 'a'), (2, null)) t(id, name)
--! whole-row: error 42703
select json_object('{a,1,b,2}'), jsonb_object(array['a', 'b'], array['1', '2'])
select * from json_array_elements('[1, {"a": 2}, null]')
select * from jsonb_array_elements('[1, {"a": 2}, null]') as t(x)
select value from json_array_elements_text('["a", 1, null]')
select value ->> 'a' from jsonb_array_elements('[{"a": 1}, {"a": 2}]')
select jsonb_array_elements('[1, 2]')
select * from json_each('{"a": 1, "b": "x"}')
select key, value from jsonb_each_text('{"b": 1, "a": "x", "c": null}')
select * from json_object_keys('{"b": 1, "a": 2}')
select jsonb_object_keys('{"b": 1, "a": 2}')
select t.id, e.value ->> 'n' as n from (values (1, '[{"n": "a"}, {"n": "b"}]'::jsonb), (2, '[]')) t(id, doc), jsonb_array_elements(t.doc) e order by 1, 2
select t.id, e.key from (values (1, '{"x": 1, "y": 2}'::jsonb)) t(id, doc) cross join lateral jsonb_each(t.doc) e order by 2
select jsonb_set('{"a": 1, "b": [1, 2]}', '{b,0}', '9'), jsonb_set('{"a": 1}', '{c}', '2'), jsonb_set('{"a": 1}', '{c}', '2', false), jsonb_insert('{"a": [1, 2]}', '{a,0}', '0')
select jsonb_strip_nulls('{"a": 1, "b": null}'), json_strip_nulls('{"a": null, "b": {"c": null}}'), jsonb_pretty('{"a": [1, 2]}')
select jsonb_extract_path('{"a": {"b": 1}}', 'a', 'b'), json_extract_path_text('{"a": {"b": "x"}}', 'a', 'b')
select jsonb_path_query('{"a": [1, 2, 3]}', '$.a[*] ? (@ > 1)')
select jsonb_path_exists('{"a": [1, 2, 3]}', '$.a[*] ? (@ > 2)'), jsonb_path_query_first('{"a": 5}', '$.a')
select '{"a": "é\u00e9\n"}'::json ->> 'a', '{"a": "é\u00e9"}'::jsonb, '{"a\"b": 1}'::jsonb
select '{"a": 12345678901234567890.123}'::jsonb -> 'a', '[true, false]'::jsonb -> 0, '"x"'::jsonb #>> '{}'
select null::jsonb -> 'a', '{"a": 1}'::jsonb -> null
select coalesce('{"a": 1}'::jsonb, '{}'), case when true then '{"a": 1}'::jsonb else '{}' end
select j ->> 'k' as k, count(*) from (values ('{"k": "a"}'::jsonb), ('{"k": "a"}'), ('{"k": "b"}')) v(j) group by 1 order by 1
select * from jsonb_to_record('{"a": 1, "b": "x"}') as t(a int, b text)
select * from json_to_recordset('[{"a": 1, "b": "x"}, {"a": 2}]') as t(a int, b text)
