-- to integers
select 1.5::int, 2.5::int, 0.5::int, -1.5::int, -0.5::int, 1.4::int
select (1.5::float8)::int, (2.5::float8)::int, (0.5::float8)::int, (-1.5::float8)::int, (-2.5::float8)::int
select (1.5::float4)::int, (2.5::float4)::bigint, 2.5::float8::smallint
select cast(1.7 as integer), cast(1.7 as bigint), cast(1.7 as smallint)
select 3000000000::int
select 3000000000.5::int
select 40000::smallint
select 1e20::bigint
select 1e20::float8::bigint
select 'NaN'::float8::int
select 'Infinity'::float8::bigint
select '42'::int, ' 42 '::int, '-42'::int, '+42'::int
select '42a'::int
select ''::int
select '4.2'::int
select '3000000000'::int
select '99999999999999999999'::bigint
select '70000'::smallint
select 'abc'::bigint
select '1e3'::int
select null::int, null::text, null::numeric
-- to numeric
select '1.50'::numeric, '-0.5'::numeric, ' 1e3 '::numeric, '.5'::numeric
select 'abc'::numeric
select ''::numeric
select '1.5'::numeric(10,4), 1.23456::numeric(5,2), 1.235::numeric(5,2), -1.235::numeric(5,2)
select 123456.789::numeric(5,2)
select 999.995::numeric(5,2)
select 1::numeric, 1::numeric(10,2), 1::bigint::numeric
select 1.5::float8::numeric, 0.1::float8::numeric, 123456789.123456789::float8::numeric, 1e10::float8::numeric
select 1.5::float4::numeric, 0.1::float4::numeric
select 1.5::decimal(10,1), cast(2 as dec(4,1))
select true::int, false::int, 1::boolean, 0::boolean, 5::boolean
select 1.5::boolean
select true::numeric
select true::smallint
-- to float
select '1.5'::float8, '1e10'::float8, ' 1.5 '::float8, 'inf'::float8, '-infinity'::float8, 'nan'::float4
select 'abc'::float8
select ''::float8
select '1e400'::float8
select 1::float8, 1.5::float8, 123456789::float4
select 1e300::float8::float4
-- to boolean
select 't'::boolean, 'true'::boolean, 'yes'::boolean, 'on'::boolean, '1'::boolean, 'TRUE'::bool, ' t '::bool, 'y'::bool, 'tr'::bool
select 'f'::boolean, 'false'::boolean, 'no'::boolean, 'off'::boolean, '0'::boolean, 'n'::bool, 'of'::bool
select 'maybe'::boolean
select 'o'::boolean
select ''::boolean
select bool 'true', boolean 'f'
select true::text, false::text, true::varchar
-- to text
select 1::text, (-5)::text, 1.50::text, 1e3::text
select 1.0::float8::text, 0.1::float8::text, 1e20::float8::text, 'NaN'::float8::text, (1::float8/3)::text
select 1.5::float4::text
select date '2024-02-29'::text, timestamp '2024-02-29 12:34:56'::text, time '12:34:56.5'::text
select timestamp '2024-02-29 12:34:56.120000'::text
select interval '1 day 2 hours'::text, interval '1 year 2 months'::text
select '\xdeadbeef'::bytea::text
select array[1,2,3]::text, array['a','b c',null,'']::text
select 'abc'::varchar(2), 'abc'::varchar, 'abc'::varchar(10), 'abc'::char(2), 'abc'::text
select 'ab'::char(4) || '|', length('ab'::char(4)), 'ab'::char(4) = 'ab'
select 'abcdef'::character varying(3), cast('abcdef' as character(3))
select 12345::varchar(3)
select 'abc'::char
select 'abc'::name, 'abc'::bpchar
select 'Hello'::"char"
-- to date and time
select '2024-02-29'::date, '20240229'::date, '2024-2-9'::date, 'Feb 29, 2024'::date, '29 February 2024'::date
select '2024-02-30'::date
select 'nonsense'::date
select ''::date
select '2024-13-01'::date
select '2024-02-29 12:34:56'::timestamp, '2024-02-29T12:34:56'::timestamp, '2024-02-29'::timestamp, '2024-02-29 12:34'::timestamp, '2024-02-29 12:34:56.789'::timestamp
select '2024-02-29 12:34:56+02'::timestamp
select '2024-02-29 25:00:00'::timestamp
select '2024-02-29 24:00:00'::timestamp
select 'nonsense'::timestamp
select '12:34:56'::time, '12:34'::time, '12:34:56.789'::time, '1:02 pm'::time, '24:00:00'::time
select '25:00:00'::time
select '12:61:00'::time
select '2024-02-29 12:34:56'::timestamp::date, '2024-02-29 12:34:56'::timestamp::time
select date '2024-02-29'::timestamp
select 'epoch'::timestamp, 'infinity'::timestamp > now()
--! infinity: error 0A000
select '2024-02-29 12:34:56.789'::timestamp(0), '2024-02-29 12:34:56.789'::timestamp(1), '2024-02-29 12:34:56.5'::timestamp(0)
select '0044-03-15 BC'::date, '0001-01-01'::date, '9999-12-31'::date
select '1 day'::interval, '1 day 02:03:04'::interval, '-1 day'::interval, 'P1Y2M3DT4H5M6S'::interval, '1 year 2 mons'::interval
select 'nonsense'::interval
select '1.5 days'::interval, '1.5 hours'::interval, '0.5 months'::interval, '2 weeks'::interval
-- bytea, uuid
select '\x00ff'::bytea, 'abc'::bytea, 'a\\b\000'::bytea
select '\xzz'::bytea
select 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid, '{a0eebc999c0b4ef8bb6d6bb9bd380a11}'::uuid
select 'nope'::uuid
-- unknown literals take the type of the other side
select 1 + '2', '3' * 2, 1.5 + '2', 2 = '2', 2 < '10'
select 1 + 'a'
select 1 = 'a'
select date '2024-01-02' = '2024-01-02', date '2024-01-02' > '2024-01-01', timestamp '2024-01-02' = '2024-01-02 00:00'
select date '2024-01-02' > 'nonsense'
select true = 'yes', true and 't'
select 3 in ('1', '3'), 3 between '1' and '5'
select case when true then 1 else '2' end, coalesce(1, '2'), nullif(1, '1'), greatest(1, '7')
select coalesce('a', 'b'), nullif('a', 'a'), coalesce(null, null, 'x')
select coalesce(null, 1), coalesce(1, 2.5), coalesce(1::bigint, 2), coalesce(1, 2::float8)
--! numeric-scale: int4, numeric, int8, float8 = 1 | 1.0 | 1 | 1
select case when true then 1 else 2.5 end, case when false then 1 else 2.5 end
--! numeric-scale: numeric, numeric = 1.0 | 2.5
select case when true then 1 else 2::bigint end, case when false then 'a' end
select nullif(1, 2), nullif(1, 1), nullif(2.5, 1), nullif('a', 'b')
select coalesce(1, 'a')
--! unused-literals: int4 = 1
select case 1 when 1 then 'one' when 2 then 'two' end, case 'a' when 'b' then 1 else 2 end
-- explicit casts that do not exist
select date '2024-01-01'::int
select 5::date
select true::date
select 5::timestamp
select '1'::int::bytea
select interval '1 day'::int
