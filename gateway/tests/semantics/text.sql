-- concatenation
select 'a' || 'b', 'a' || 1, 1 || 'a', 'a' || 1.50, 'a' || true, 'a' || null, null || 'a'
select 1 || 2
select 'd: ' || date '2024-01-02', 't: ' || timestamp '2024-01-02 03:04:05', 'f: ' || 1.0::float8, 'i: ' || interval '1 day'
select concat('a', 'b', null, 1, true, 1.5), concat(null, null)
select concat()
--! more: text = 
select concat_ws(',', 'a', null, 'b', 1), concat_ws(null, 'a', 'b')
select concat_ws(',')
--! more: text = 
select 'a' 'b'
select E'a\tb\n', E'\x41\u0042', U&'\0041', $$dollar$$, $tag$x$y$tag$
select 'it''s'
-- length, case
select length('héllo'), char_length('héllo'), character_length('abc'), octet_length('héllo'), bit_length('abc'), length('')
select length('😀')
select upper('abcß'), lower('ÀBC'), initcap('hello wORLD foo-bar x2y')
select reverse('abc'), reverse('héé')
-- substring
select substring('abcdef' from 2 for 3), substring('abcdef', 2, 3), substr('abcdef', 2), substring('abcdef' from 3), substring('abcdef' for 2)
select substring('abcdef' from 0 for 3), substring('abcdef' from -2 for 5), substr('abcdef', -1, 4), substr('abcdef', 10), substring('abcdef' from 2 for 0)
select substring('abcdef' from 2 for -1)
select substring('foobar' from 'o.b'), substring('foobar' from 'o(.)b'), substring('foobar' from 'x')
select substring('foobar' similar '%#"o_b#"%' escape '#')
--! syntax: error 42601
select substring(null from 1), substring('abc' from null)
select left('abcdef', 2), left('abcdef', -2), right('abcdef', 2), right('abcdef', -2), left('abc', 0), left('abc', 10), right('abc', -10)
select position('c' in 'abcdef'), position('x' in 'abc'), position('' in 'abc'), strpos('abcabc', 'ca')
select overlay('Txxxxas' placing 'hom' from 2 for 4), overlay('abcdef' placing 'XX' from 3), overlay('abc' placing 'ZZZ' from 4)
-- trim
select trim('  a b  '), ltrim('  a'), rtrim('a  '), btrim('xxaxx', 'x'), trim(both 'x' from 'xxaxx'), trim(leading 'xy' from 'yxabc'), trim(trailing 'c' from 'abcc'), ltrim('zzzytest', 'xyz'), trim('x' from 'xax')
select trim(e'\t a \n')
-- pad, repeat, replace, translate
select lpad('hi', 5), lpad('hi', 5, 'xy'), lpad('hello', 3), rpad('hi', 5, 'xy'), rpad('hello', 2), lpad('hi', 5, ''), lpad('hi', 0), lpad('hi', -1)
select repeat('ab', 3), repeat('ab', 0), repeat('ab', -1), replace('abcabc', 'b', 'X'), replace('abc', '', 'x'), translate('12345', '143', 'ax')
-- split
select split_part('a,b,c', ',', 2), split_part('a,b,c', ',', 4), split_part('a,b,c', ',', -1), split_part('abc', '', 1), split_part('', ',', 1)
select split_part('a,b', ',', 0)
select string_to_array('a,b,,c', ','), string_to_array('a,b', null), string_to_array('', ','), string_to_array('a,NULL', ',', 'NULL'), string_to_array('abc', '')
select array_to_string(array['a', null, 'b'], ','), array_to_string(array['a', null, 'b'], ',', '*'), array_to_string(array[1, 2, 3], '-')
select starts_with('abc', 'ab'), 'abc' ^@ 'b'
select ascii('a'), ascii('é'), ascii(''), chr(65), chr(8364)
select chr(0)
select md5('abc'), md5(''), encode(sha256('abc'), 'hex')
select encode('abc'::bytea, 'base64'), encode('\x00ff'::bytea, 'hex'), encode('\x00ff41'::bytea, 'escape'), decode('YWJj', 'base64'), decode('00ff', 'hex')
select decode('zz', 'hex')
select quote_ident('a b'), quote_ident('abc'), quote_ident('Abc'), quote_literal('it''s'), quote_nullable(null), quote_literal(42)
select format('Hello %s, %s', 'World', 1), format('%I.%L', 'My Table', 'it''s'), format('%%'), format('%2$s %1$s', 'a', 'b'), format('|%10s|', 'foo'), format('|%-10s|', 'foo'), format('%s', null), format('%L', null)
select format('%s')
select parse_ident('"Some Schema".t')
select to_hex(10), strpos('abc', ''), repeat('-', 3) || '>'
select normalize('é')
--! normalize: error 42883
-- like
select 'abc' like 'a%', 'abc' like '_b_', 'abc' like 'A%', 'abc' ilike 'A%', 'abc' not like 'b%', 'abc' ~~ 'a%', 'abc' ~~* 'A%', 'abc' !~~ 'x%'
select 'a%c' like 'a\%c', 'abc' like 'a\%c', 'a_c' like 'a#_c' escape '#', 'a\c' like 'a\\c', 'a\c' like 'a\c' escape ''
select null like 'a', 'a' like null
select 'abc' like any (array['x%', 'a%']), 'abc' like all (array['a%', '%c'])
select E'a\nb' like 'a%b', 'abc' like ''
select 'ABC' ilike 'a_c', 'straße' ilike 'STRA_E'
-- similar to
select 'abc' similar to 'abc', 'abc' similar to 'a', 'abc' similar to '%(b|d)%', 'abc' similar to '(b|c)%', 'abc' not similar to 'a%', 'a.c' similar to 'a.c', 'abc' similar to 'a.c', 'aaa' similar to 'a{3}', 'ab' similar to '[a-b]+'
-- regular expressions
select 'abc' ~ 'b', 'abc' ~ '^b', 'abc' ~* 'B', 'abc' !~ 'x', 'abc' !~* 'B'
select 'abc' ~ '('
select regexp_replace('foobarbaz', 'b..', 'X'), regexp_replace('foobarbaz', 'b..', 'X', 'g'), regexp_replace('foobarbaz', 'b(..)', 'X\1Y', 'g'), regexp_replace('Foo', 'f', 'x', 'i'), regexp_replace('abc', '(b)', '[\&]')
select regexp_match('foobarbequebaz', '(bar)(beque)'), regexp_match('foobar', 'b.r'), regexp_match('foo', 'x')
select regexp_matches('foobarbequebazilbarfbonk', '(b[^b]+)(b[^b]+)', 'g')
select regexp_split_to_array('hello  world', '\s+'), regexp_split_to_array('abc', '')
select regexp_split_to_table('a,b,c', ',')
select regexp_count('banana', 'a'), regexp_instr('banana', 'n'), regexp_substr('foobar', 'o.b'), regexp_like('Foo', 'foo', 'i')
select 'foo123' ~ '\d+', 'foo' ~ '\w{3}', 'a.b' ~ 'a\.b', 'word here' ~ '\mhere\M', 'x' ~ '[[:alpha:]]'
select string_to_table('a,b,c', ',')
-- comparison: C collation
select 'a' < 'b', 'a' < 'B', 'Z' < 'a', 'é' > 'z', 'a' = 'a ', '' < ' ', 'abc' < 'abcd'
select 'a' > 'A', max(x), min(x) from (values ('b'), ('A'), ('a')) v(x)
select x from (values ('b'), ('A'), ('a'), ('B'), ('é'), (null)) v(x) order by x
select x from (values ('b'), ('A'), ('a'), (null)) v(x) order by x desc
select 'a' collate "C" < 'B'
