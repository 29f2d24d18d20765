-- What statements over geometries answer: below each the answer of PostgreSQL 15 with PostGIS 3.3.2, its types and
-- rows as tests/it/spatial.rs writes them; where Lakegate's is known to differ, "--! name: answer" below that.

-- text
select st_astext('POINT(1 2)'::geometry), 'POINT(1 2)'::geometry, st_asewkt('SRID=4326;POINT(1 2)'::geometry), 'SRID=4326;POINT(1 2)'::geometry
--= text, geometry, text, geometry = POINT(1 2) | 0101000000000000000000F03F0000000000000040 | SRID=4326;POINT(1 2) | 0101000020E6100000000000000000F03F0000000000000040
select st_astext('point ( 1.50  -2e3 )'::geometry), st_astext('POINT EMPTY'::geometry), st_astext('LINESTRING(0 0, 1 1, 2 1)'::geometry)
--= text, text, text = POINT(1.5 -2000) | POINT EMPTY | LINESTRING(0 0,1 1,2 1)
select st_astext('POLYGON((0 0,0 4,4 4,4 0,0 0),(1 1,2 1,2 2,1 2,1 1))'::geometry), st_astext('POLYGON EMPTY'::geometry)
--= text, text = POLYGON((0 0,0 4,4 4,4 0,0 0),(1 1,2 1,2 2,1 2,1 1)) | POLYGON EMPTY
select st_astext('MULTIPOINT(1 2,(3 4),EMPTY)'::geometry), st_asewkt('MULTIPOINT(1 2,(3 4),EMPTY)'::geometry), st_astext('MULTIPOINT EMPTY'::geometry)
--= text, text, text = MULTIPOINT((1 2),(3 4),EMPTY) | MULTIPOINT(1 2,3 4,EMPTY) | MULTIPOINT EMPTY
select st_astext('MULTILINESTRING((0 0,1 1),(2 2,3 3))'::geometry), st_astext('MULTIPOLYGON(((0 0,0 1,1 1,0 0)),((5 5,5 6,6 6,5 5)))'::geometry)
--= text, text = MULTILINESTRING((0 0,1 1),(2 2,3 3)) | MULTIPOLYGON(((0 0,0 1,1 1,0 0)),((5 5,5 6,6 6,5 5)))
select st_astext('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING EMPTY,GEOMETRYCOLLECTION(MULTIPOINT(1 2)))'::geometry), st_asewkt('GEOMETRYCOLLECTION(MULTIPOINT(1 2))'::geometry), st_astext('GEOMETRYCOLLECTION EMPTY'::geometry)
--= text, text, text = GEOMETRYCOLLECTION(POINT(1 2),LINESTRING EMPTY,GEOMETRYCOLLECTION(MULTIPOINT((1 2)))) | GEOMETRYCOLLECTION(MULTIPOINT(1 2)) | GEOMETRYCOLLECTION EMPTY
select st_astext('POINT(0.30000000000000004 1e15)'::geometry), st_astext('POINT(123456.789012345678 -0.0)'::geometry), st_astext('POINT(1e-7 1e14)'::geometry), st_astext('POINT(1e-9 1e-8)'::geometry), st_astext('POINT(1.23456e20 1e300)'::geometry)
--= text, text, text, text, text = POINT(0.3 1e+15) | POINT(123456.78901234567 0) | POINT(0.0000001 100000000000000) | POINT(1e-9 1e-8) | POINT(1.23456e+20 1e+300)
select st_astext('POINT(111.1111111 -1.0001)'::geometry, 2), st_astext('POINT(111.5 -1.5)'::geometry, 0), st_astext('POINT(2.55 2.45)'::geometry, 1), st_astext('POINT(1.005 1.015)'::geometry, 2), st_astext('POINT(1.23456e-9 -0.0001)'::geometry, 3), st_astext('POINT(1.5 2)'::geometry, -1), st_astext('POINT(0.1234567890123456789 2)'::geometry, 20)
--= text, text, text, text, text, text, text = POINT(111.11 -1) | POINT(112 -2) | POINT(2.6 2.4) | POINT(1 1.02) | POINT(1.235e-9 0) | POINT(2 2) | POINT(0.12345678901234568 2)
select st_asgeojson('POINT(1.123456789123 2)'::geometry), st_asgeojson('SRID=4326;POINT(1 2)'::geometry), st_asgeojson('SRID=3857;POINT(1 2)'::geometry), st_asgeojson('SRID=3857;GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'::geometry), st_asgeojson('POINT(1.5 2.55)'::geometry, 1)
--= text, text, text, text, text = {\"type\":\"Point\",\"coordinates\":[1.123456789,2]} | {\"type\":\"Point\",\"coordinates\":[1,2]} | {\"type\":\"Point\",\"crs\":{\"type\":\"name\",\"properties\":{\"name\":\"EPSG:3857\"}},\"coordinates\":[1,2]} | {\"type\":\"GeometryCollection\",\"crs\":{\"type\":\"name\",\"properties\":{\"name\":\"EPSG:3857\"}},\"geometries\":[{\"type\":\"Point\",\"coordinates\":[1,2]},{\"type\":\"LineString\",\"coordinates\":[[0,0],[1,1]]}]} | {\"type\":\"Point\",\"coordinates\":[1.5,2.6]}
select st_asgeojson('POINT EMPTY'::geometry), st_asgeojson('POLYGON EMPTY'::geometry), st_asgeojson('MULTIPOINT(1 2,3 4)'::geometry), st_asgeojson('GEOMETRYCOLLECTION EMPTY'::geometry), st_asgeojson('MULTIPOLYGON(((0 0,0 1,1 1,0 0)),((5 5,5 6,6 6,5 5)))'::geometry), st_asgeojson('MULTILINESTRING((0 0,1 1),(2 2,3 3))'::geometry)
--= text, text, text, text, text, text = {\"type\":\"Point\",\"coordinates\":[]} | {\"type\":\"Polygon\",\"coordinates\":[]} | {\"type\":\"MultiPoint\",\"coordinates\":[[1,2],[3,4]]} | {\"type\":\"GeometryCollection\",\"geometries\":[]} | {\"type\":\"MultiPolygon\",\"coordinates\":[[[[0,0],[0,1],[1,1],[0,0]]],[[[5,5],[5,6],[6,6],[5,5]]]]} | {\"type\":\"MultiLineString\",\"coordinates\":[[[0,0],[1,1]],[[2,2],[3,3]]]}

-- bytes
select st_asbinary('SRID=4326;POINT(1 2)'::geometry), st_asewkb('SRID=4326;POINT(1 2)'::geometry), 'SRID=4326;POINT(1 2)'::geometry::bytea, st_asbinary('POINT EMPTY'::geometry)
--= bytea, bytea, bytea, bytea = \\x0101000000000000000000f03f0000000000000040 | \\x0101000020e6100000000000000000f03f0000000000000040 | \\x0101000020e6100000000000000000f03f0000000000000040 | \\x0101000000000000000000f87f000000000000f87f
select 'SRID=4326;MULTIPOINT(1 2)'::geometry, 'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'::geometry, 'POLYGON((0 0,0 1,1 1,0 0))'::geometry
--= geometry, geometry, geometry = 0104000020E6100000010000000101000000000000000000F03F0000000000000040 | 0107000000020000000101000000000000000000F03F000000000000004001020000000200000000000000000000000000000000000000000000000000F03F000000000000F03F | 01030000000100000004000000000000000000000000000000000000000000000000000000000000000000F03F000000000000F03F000000000000F03F00000000000000000000000000000000
select st_asewkt('0101000020E6100000000000000000F03F0000000000000040'::geometry), st_asewkt('00000000013FF00000000000004000000000000000'::geometry), st_asewkt('0101000000000000000000F87F000000000000F87F'::geometry)
--= text, text, text = SRID=4326;POINT(1 2) | POINT(1 2) | POINT EMPTY
select st_asewkt(st_geomfromwkb('\x0101000000000000000000f03f0000000000000040'::bytea)), st_asewkt(st_geomfromwkb('\x0101000000000000000000f03f0000000000000040'::bytea, 4326)), st_asewkt(st_geomfromewkb('\x0101000020e6100000000000000000f03f0000000000000040'::bytea)), st_asewkt('\x0101000000000000000000f03f0000000000000040'::bytea::geometry), st_x('\x0101000000000000000000f03f0000000000000040'::bytea)
--= text, text, text, text, float8 = POINT(1 2) | SRID=4326;POINT(1 2) | SRID=4326;POINT(1 2) | POINT(1 2) | 1

-- making
select st_asewkt(st_point(1, 2)), st_asewkt(st_point(1, 2, 4326)), st_asewkt(st_makepoint(1.5, 2)), st_asewkt(st_setsrid(st_makepoint(1, 2), 3857)), st_astext(st_makepoint('infinity', '-infinity'))
--= text, text, text, text, text = POINT(1 2) | SRID=4326;POINT(1 2) | POINT(1.5 2) | SRID=3857;POINT(1 2) | POINT(Infinity -Infinity)
select st_asewkt(st_makeenvelope(1, 2, 3, 4)), st_asewkt(st_makeenvelope(3, 4, 1, 2, 4326)), st_astext(st_makeline('POINT(0 0)'::geometry, 'POINT EMPTY'::geometry)), st_astext(st_makeline('LINESTRING(0 0,1 1)'::geometry, 'POINT(2 2)'::geometry))
--= text, text, text, text = POLYGON((1 2,1 4,3 4,3 2,1 2)) | SRID=4326;POLYGON((3 4,3 2,1 2,1 4,3 4)) | LINESTRING(0 0) | LINESTRING(0 0,1 1,2 2)
select st_asewkt(st_geomfromtext('POINT(1 2)')), st_asewkt(st_geomfromtext('POINT(1 2)', 4326)), st_asewkt(st_geometryfromtext('LINESTRING(1 2,3 4)', 4326)), st_asewkt(st_geomfromewkt('SRID=4326;POINT(1 2)')), st_asewkt(st_geomfromtext('SRID=4326;POINT(1 2)'))
--= text, text, text, text, text = POINT(1 2) | SRID=4326;POINT(1 2) | SRID=4326;LINESTRING(1 2,3 4) | SRID=4326;POINT(1 2) | SRID=4326;POINT(1 2)
select st_srid(st_setsrid('POINT(1 2)'::geometry, -5)), st_srid('SRID=999999999;POINT(1 2)'::geometry), st_srid('POINT(1 2)'::geometry), st_srid('SRID=4326;POINT EMPTY'::geometry)
--= int4, int4, int4, int4 = 0 | 999000 | 0 | 4326
select st_astext(st_envelope('POINT EMPTY'::geometry)), st_astext(st_envelope('LINESTRING(1 1,1 5)'::geometry)), st_astext(st_envelope('LINESTRING(5 5,1 1)'::geometry)), st_astext(st_envelope('POINT(1 2)'::geometry)), st_astext(st_envelope('LINESTRING(5 1,1 1)'::geometry)), st_astext(st_envelope('LINESTRING EMPTY'::geometry))
--= text, text, text, text, text, text = POINT EMPTY | LINESTRING(1 1,1 5) | POLYGON((1 1,1 5,5 5,5 1,1 1)) | POINT(1 2) | LINESTRING(1 1,5 1) | LINESTRING EMPTY
select st_astext(st_centroid('POLYGON((0 0,0 4,4 4,4 0,0 0))'::geometry)), st_astext(st_centroid('POLYGON((0 0,0 4,4 4,4 0,0 0),(1 1,2 1,2 2,1 2,1 1))'::geometry), 12), st_astext(st_centroid('POINT EMPTY'::geometry)), st_astext(st_centroid('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'::geometry)), st_astext(st_centroid('LINESTRING(0 0,0 0)'::geometry)), st_astext(st_centroid('MULTIPOINT(0 0,2 0,1 3)'::geometry))
--= text, text, text, text, text, text = POINT(2 2) | POINT(2.033333333333 2.033333333333) | POINT EMPTY | POINT(0.5 0.5) | POINT(0 0) | POINT(1 1)

-- measuring
select st_x('POINT(1 2)'::geometry), st_y('POINT(1 2)'::geometry), st_x('POINT EMPTY'::geometry), st_xmin('LINESTRING(1 2,3 -4)'::geometry), st_xmax('LINESTRING(1 2,3 -4)'::geometry), st_ymin('LINESTRING(1 2,3 -4)'::geometry), st_ymax('LINESTRING(1 2,3 -4)'::geometry), st_xmin('POINT EMPTY'::geometry)
--= float8, float8, float8, float8, float8, float8, float8, float8 = 1 | 2 | NULL | 1 | 3 | -4 | 2 | NULL
select st_area('POLYGON((0 0,0 4,4 4,4 0,0 0),(1 1,2 1,2 2,1 2,1 1))'::geometry), st_area('MULTIPOLYGON(((0 0,0 1,1 1,1 0,0 0)),((5 5,5 6,6 6,6 5,5 5)))'::geometry), st_area('LINESTRING(0 0,1 1)'::geometry), st_area('POLYGON EMPTY'::geometry), st_area('GEOMETRYCOLLECTION(POLYGON((0 0,0 1,1 1,1 0,0 0)),POINT(1 1))'::geometry)
--= float8, float8, float8, float8, float8 = 15 | 2 | 0 | 0 | 1
select st_length('LINESTRING(0 0,3 4,3 5)'::geometry), st_length('MULTILINESTRING((0 0,3 4),(0 0,0 1))'::geometry), st_length('POLYGON((0 0,0 1,1 1,1 0,0 0))'::geometry), st_length('POINT(1 1)'::geometry), st_perimeter('POLYGON((0 0,0 4,4 4,4 0,0 0),(1 1,2 1,2 2,1 2,1 1))'::geometry), st_perimeter('LINESTRING(0 0,3 4)'::geometry), st_length('GEOMETRYCOLLECTION(LINESTRING(0 0,3 4))'::geometry)
--= float8, float8, float8, float8, float8, float8, float8 = 6 | 6 | 0 | 0 | 20 | 0 | 5
select st_npoints('POLYGON((0 0,0 4,4 4,4 0,0 0),(1 1,2 1,2 2,1 2,1 1))'::geometry), st_npoints('POINT EMPTY'::geometry), st_numpoints('LINESTRING(0 0,1 1)'::geometry), st_numpoints('POINT(1 1)'::geometry), st_npoints('MULTIPOINT(1 2,EMPTY)'::geometry)
--= int4, int4, int4, int4, int4 = 10 | 0 | 2 | NULL | 1
select st_numgeometries('POINT(1 1)'::geometry), st_numgeometries('POINT EMPTY'::geometry), st_numgeometries('MULTIPOINT(1 2,3 4)'::geometry), st_numgeometries('GEOMETRYCOLLECTION EMPTY'::geometry), st_dimension('POINT(1 1)'::geometry), st_dimension('LINESTRING EMPTY'::geometry), st_dimension('POLYGON EMPTY'::geometry), st_dimension('GEOMETRYCOLLECTION EMPTY'::geometry), st_dimension('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'::geometry)
--= int4, int4, int4, int4, int4, int4, int4, int4, int4 = 1 | 0 | 2 | 0 | 0 | 1 | 2 | 0 | 1
select st_isempty('POINT EMPTY'::geometry), st_isempty('GEOMETRYCOLLECTION(POINT EMPTY)'::geometry), st_isempty('POINT(1 2)'::geometry), st_geometrytype('POINT(1 2)'::geometry), st_geometrytype('MULTIPOLYGON EMPTY'::geometry), st_geometrytype('GEOMETRYCOLLECTION EMPTY'::geometry), geometrytype('LINESTRING(0 0,1 1)'::geometry)
--= bool, bool, bool, text, text, text, text = t | t | f | ST_Point | ST_MultiPolygon | ST_GeometryCollection | LINESTRING

-- relations: points
select st_intersects(a, b), st_contains(a, b), st_within(a, b), st_covers(a, b), st_coveredby(a, b), st_disjoint(a, b), st_touches(a, b), st_crosses(a, b), st_overlaps(a, b), st_equals(a, b), st_distance(a, b) from (select 'POINT(1 1)'::geometry as a, 'POINT(1 1)'::geometry as b) p
--= bool, bool, bool, bool, bool, bool, bool, bool, bool, bool, float8 = t | t | t | t | t | f | f | f | f | t | 0
select st_intersects(a, b), st_contains(a, b), st_within(a, b), st_disjoint(a, b), st_equals(a, b), st_distance(a, b) from (select 'POINT(0 0)'::geometry as a, 'POINT(3 4)'::geometry as b) p
--= bool, bool, bool, bool, bool, float8 = f | f | f | t | f | 5
-- relations: a polygon with a hole, to points inside, at the boundary, in the hole, at the hole's boundary, outside
select n, st_contains(a, b), st_covers(a, b), st_intersects(a, b), st_touches(a, b), st_disjoint(a, b), st_within(b, a), st_coveredby(b, a), st_distance(a, b), st_dwithin(a, b, 1) from (select n, 'POLYGON((0 0,0 10,10 10,10 0,0 0),(4 4,6 4,6 6,4 6,4 4))'::geometry as a, b::geometry as b from (values (1, 'POINT(1 1)'), (2, 'POINT(0 5)'), (3, 'POINT(0 0)'), (4, 'POINT(5 5)'), (5, 'POINT(4 5)'), (6, 'POINT(13 14)'), (7, 'POINT(11 5)')) v(n, b)) p order by n
--= int4, bool, bool, bool, bool, bool, bool, bool, float8, bool = 1 | t | t | t | f | f | t | t | 0 | t ; 2 | f | t | t | t | f | f | t | 0 | t ; 3 | f | t | t | t | f | f | t | 0 | t ; 4 | f | f | f | f | t | f | f | 1 | t ; 5 | f | t | t | t | f | f | t | 0 | t ; 6 | f | f | f | f | t | f | f | 5 | f ; 7 | f | f | f | f | t | f | f | 1 | t
-- relations: that polygon to lines
select n, st_contains(a, b), st_covers(a, b), st_intersects(a, b), st_touches(a, b), st_crosses(a, b), st_disjoint(a, b), st_within(b, a), st_distance(a, b) from (select n, 'POLYGON((0 0,0 10,10 10,10 0,0 0),(4 4,6 4,6 6,4 6,4 4))'::geometry as a, b::geometry as b from (values (1, 'LINESTRING(1 1,2 2)'), (2, 'LINESTRING(0 0,0 10)'), (3, 'LINESTRING(-1 5,11 5)'), (4, 'LINESTRING(4.5 4.5,5.5 5.5)'), (5, 'LINESTRING(10 10,20 20)'), (6, 'LINESTRING(12 0,12 10)'), (7, 'LINESTRING(0 0,5 3)'), (8, 'MULTILINESTRING((1 1,2 2),(20 20,21 21))')) v(n, b)) p order by n
--= int4, bool, bool, bool, bool, bool, bool, bool, float8 = 1 | t | t | t | f | f | f | t | 0 ; 2 | f | t | t | t | f | f | f | 0 ; 3 | f | f | t | f | t | f | f | 0 ; 4 | f | f | f | f | f | t | f | 0.5 ; 5 | f | f | t | t | f | f | f | 0 ; 6 | f | f | f | f | f | t | f | 2 ; 7 | t | t | t | f | f | f | t | 0 ; 8 | f | f | t | f | t | f | f | 0
-- relations: that polygon to polygons
select n, st_contains(a, b), st_within(a, b), st_covers(a, b), st_intersects(a, b), st_touches(a, b), st_overlaps(a, b), st_disjoint(a, b), st_equals(a, b), st_distance(a, b), st_dwithin(a, b, 0.5) from (select n, 'POLYGON((0 0,0 10,10 10,10 0,0 0),(4 4,6 4,6 6,4 6,4 4))'::geometry as a, b::geometry as b from (values (1, 'POLYGON((1 1,1 2,2 2,2 1,1 1))'), (2, 'POLYGON((4.5 4.5,4.5 5.5,5.5 5.5,5.5 4.5,4.5 4.5))'), (3, 'POLYGON((10 0,10 10,20 10,20 0,10 0))'), (4, 'POLYGON((5 5,5 15,15 15,15 5,5 5))'), (5, 'POLYGON((30 0,30 1,31 1,31 0,30 0))'), (6, 'POLYGON((10 10,0 10,0 0,10 0,10 10),(6 6,6 4,4 4,4 6,6 6))'), (7, 'POLYGON((-1 -1,-1 11,11 11,11 -1,-1 -1))'), (8, 'POLYGON((4 4,6 4,6 6,4 6,4 4))'), (9, 'MULTIPOLYGON(((1 1,1 2,2 2,2 1,1 1)),((7 7,7 8,8 8,8 7,7 7)))'), (10, 'MULTIPOLYGON(((1 1,1 2,2 2,2 1,1 1)),((30 30,30 31,31 31,31 30,30 30)))')) v(n, b)) p order by n
--= int4, bool, bool, bool, bool, bool, bool, bool, bool, float8, bool = 1 | t | f | t | t | f | f | f | f | 0 | t ; 2 | f | f | f | f | f | f | t | f | 0.5 | t ; 3 | f | f | f | t | t | f | f | f | 0 | t ; 4 | f | f | f | t | f | t | f | f | 0 | t ; 5 | f | f | f | f | f | f | t | f | 20 | f ; 6 | t | t | t | t | f | f | f | t | 0 | t ; 7 | f | t | f | t | f | f | f | f | 0 | t ; 8 | f | f | f | t | t | f | f | f | 0 | t ; 9 | t | f | t | t | f | f | f | f | 0 | t ; 10 | f | f | f | t | f | t | f | f | 0 | t
-- relations: lines and points
select n, st_contains(a, b), st_within(b, a), st_covers(a, b), st_intersects(a, b), st_touches(a, b), st_crosses(a, b), st_overlaps(a, b), st_equals(a, b), st_distance(a, b) from (select n, 'LINESTRING(0 0,10 0)'::geometry as a, b::geometry as b from (values (1, 'POINT(5 0)'), (2, 'POINT(0 0)'), (3, 'POINT(5 2)'), (4, 'LINESTRING(5 -1,5 1)'), (5, 'LINESTRING(2 0,3 0)'), (6, 'LINESTRING(5 0,15 0)'), (7, 'LINESTRING(10 0,20 0)'), (8, 'LINESTRING(10 0,0 0)'), (9, 'MULTIPOINT(5 0,5 5)'), (10, 'MULTIPOINT(0 0,10 0)'), (11, 'LINESTRING(0 3,10 4)'), (12, 'LINESTRING(0 0,5 0,10 0)')) v(n, b)) p order by n
--= int4, bool, bool, bool, bool, bool, bool, bool, bool, float8 = 1 | t | t | t | t | f | f | f | f | 0 ; 2 | f | f | t | t | t | f | f | f | 0 ; 3 | f | f | f | f | f | f | f | f | 2 ; 4 | f | f | f | t | f | t | f | f | 0 ; 5 | t | t | t | t | f | f | f | f | 0 ; 6 | f | f | f | t | f | f | t | f | 0 ; 7 | f | f | f | t | t | f | f | f | 0 ; 8 | t | t | t | t | f | f | f | t | 0 ; 9 | f | f | f | t | f | t | f | f | 0 ; 10 | f | f | t | t | t | f | f | f | 0 ; 11 | f | f | f | f | f | f | f | f | 3 ; 12 | t | t | t | t | f | f | f | t | 0
-- relations: multipoints
select n, st_contains(a, b), st_within(a, b), st_intersects(a, b), st_touches(a, b), st_overlaps(a, b), st_equals(a, b), st_distance(a, b) from (select n, 'MULTIPOINT(0 0,5 5)'::geometry as a, b::geometry as b from (values (1, 'POINT(5 5)'), (2, 'MULTIPOINT(5 5,9 9)'), (3, 'MULTIPOINT(5 5,0 0)'), (4, 'POLYGON((0 0,0 10,10 10,10 0,0 0))'), (5, 'LINESTRING(3 0,3 9)'), (6, 'POINT(8 9)')) v(n, b)) p order by n
--= int4, bool, bool, bool, bool, bool, bool, float8 = 1 | t | f | t | f | f | f | 0 ; 2 | f | f | t | f | t | f | 0 ; 3 | t | t | t | f | f | t | 0 ; 4 | f | t | t | f | f | f | 0 ; 5 | f | f | f | f | f | f | 2 ; 6 | f | f | f | f | f | f | 5
-- relations: collections
select st_intersects('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(5 5,6 6))'::geometry, 'POINT(1 1)'::geometry), st_contains('GEOMETRYCOLLECTION(POINT(1 1))'::geometry, 'POINT(1 1)'::geometry), st_distance('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(5 5,6 6))'::geometry, 'POINT(5 1)'::geometry), st_dwithin('GEOMETRYCOLLECTION(POINT(1 1))'::geometry, 'POINT(1 3)'::geometry, 2)
--= bool, bool, float8, bool = t | t | 4 | t
-- relations: what is empty
select st_distance(a, b), st_dwithin(a, b, 5), st_disjoint(a, b), st_intersects(a, b), st_contains(a, b), st_within(a, b), st_covers(a, b), st_touches(a, b), st_equals(a, b), st_equals(b, 'LINESTRING EMPTY'::geometry) from (select 'POINT(0 0)'::geometry as a, 'POINT EMPTY'::geometry as b) p
--= float8, bool, bool, bool, bool, bool, bool, bool, bool, bool = NULL | f | t | f | f | f | f | f | f | t
select st_dwithin('POINT(0 0)'::geometry, 'POINT(3 4)'::geometry, 5), st_dwithin('POINT(0 0)'::geometry, 'POINT(3 4)'::geometry, 4.999), st_dwithin('POINT(0 0)'::geometry, 'POINT(0 0)'::geometry, 0)
--= bool, bool, bool = t | f | t
-- relations: from a list of texts
select st_distance(p::geometry, 'SRID=4326;POINT(0 0)'::geometry) from (values ('SRID=4326;POINT(3 4)'), (null)) v(p)
--= float8 = 5 ; NULL
select count(*) from generate_series(1, 10) x cross join generate_series(1, 10) y where st_contains(st_makeenvelope(2, 2, 5, 5), st_point(x, y))
--= int8 = 4
select count(*) from generate_series(1, 10) x cross join generate_series(1, 10) y where st_dwithin(st_point(5, 5), st_point(x, y), 2)
--= int8 = 13

-- nothing in, nothing out
select st_geomfromtext(null), st_distance(null::geometry, 'POINT(1 2)'::geometry), st_x(null::geometry), st_point(1, null), st_astext(null::geometry), st_setsrid('POINT(1 2)'::geometry, null), st_intersects('POINT(1 2)'::geometry, null::geometry), st_dwithin('POINT(1 2)'::geometry, 'POINT(1 2)'::geometry, null), st_astext('POINT(1 2)'::geometry, null)
--= geometry, float8, float8, geometry, text, geometry, bool, bool, text = NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL

-- what is refused
select st_geomfromtext('POINT')
--= error XX000
--! geometry-text: error 22023
select st_geomfromtext('POINT(1 2')
--= error XX000
--! geometry-text: error 22023
select 'POINT(1'::geometry
--= error XX000
--! geometry-text: error 22023
select ''::geometry
--= error XX000
--! geometry-text: error 22023
select 'CIRCLE(1 2)'::geometry
--= error XX000
--! geometry-text: error 22023
select 'POINT(1 2) x'::geometry
--= error XX000
--! geometry-text: error 22023
select 'LINESTRING(0 0)'::geometry
--= error XX000
--! geometry-text: error 22023
select 'POLYGON((0 0,1 1,1 0))'::geometry
--= error XX000
--! geometry-text: error 22023
select 'POLYGON((0 0,1 1,0 0))'::geometry
--= error XX000
--! geometry-text: error 22023
select 'POLYGON((0 0,1 1,1 0,0 0),EMPTY)'::geometry
--= error XX000
--! geometry-text: error 22023
select 'SRID=x;POINT(1 2)'::geometry
--= error XX000
--! geometry-text: error 22023
select '0101'::geometry
--= error XX000
--! geometry-text: error 22023
select st_geomfromwkb('\x0109000000'::bytea)
--= error XX000
--! geometry-text: error 22023
select st_intersects('SRID=4326;POINT(1 2)'::geometry, 'POINT(1 2)'::geometry)
--= error XX000
--! geometry-argument: error 22023
select st_distance('SRID=4326;POINT(1 2)'::geometry, 'SRID=3857;POINT(1 2)'::geometry)
--= error XX000
--! geometry-argument: error 22023
select st_equals('SRID=4326;POINT(1 2)'::geometry, 'SRID=3857;POINT(1 2)'::geometry)
--= error XX000
--! geometry-argument: error 22023
select st_makeline('SRID=4326;POINT(1 2)'::geometry, 'POINT(1 2)'::geometry)
--= error XX000
--! geometry-argument: error 22023
select st_dwithin('POINT(1 2)'::geometry, 'POINT(1 2)'::geometry, -1)
--= error XX000
--! geometry-argument: error 22023
select st_makeline('POINT(0 0)'::geometry, 'POLYGON((0 0,1 0,1 1,0 0))'::geometry)
--= error XX000
--! geometry-argument: error 22023
select st_x('LINESTRING(0 0,1 1)'::geometry)
--= error XX000
--! geometry-argument: error 22023
select st_x(1)
--= error 42883
select st_area()
--= error 42883
select st_makeline('LINESTRING(0 0,1 1)'::geometry, 'MULTIPOINT(2 2,3 3)'::geometry)
--= error XX000
--! geometry-argument: error 22023
