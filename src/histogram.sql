
--
-- histogram.sql: the type histogram
--

CREATE TYPE infra_monitor.histogram;

CREATE FUNCTION infra_monitor.histogram_in(cstring)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_in_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_in(cstring) IS
'input of type histogram; error for anything but what histogram_out() writes, up to white space, order and empty buckets; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_out(infra_monitor.histogram)
RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_out_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_out(infra_monitor.histogram) IS
'output of type histogram: {1.12ms:3,5s:1,+Inf:2}, buckets that are not empty by their upper bound; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_recv(internal)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_recv_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_recv(internal) IS
'binary input of type histogram; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_send(infra_monitor.histogram)
RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_send_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_send(infra_monitor.histogram) IS
'binary output of type histogram: version 1, first bucket, number of buckets (a byte each), and a count for each, 7 bits to a byte, low bits first; for pg_monitor';

CREATE TYPE infra_monitor.histogram (
	INPUT = infra_monitor.histogram_in,
	OUTPUT = infra_monitor.histogram_out,
	RECEIVE = infra_monitor.histogram_recv,
	SEND = infra_monitor.histogram_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE infra_monitor.histogram IS
'counts of durations in 202 buckets, 20 to a decade from 1 us to 10 000 s, at most 2^63 - 1 together; histograms can be added and subtracted, and know their quantiles within 14.3 percent';

CREATE FUNCTION infra_monitor.histogram(float8[])
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_1_0';
COMMENT ON FUNCTION infra_monitor.histogram(float8[]) IS
'histogram of durations in milliseconds, rounded to nanoseconds; NULLs are left out; error for NaN and negative ones; for pg_monitor';

--
-- jsonb
--

CREATE FUNCTION infra_monitor.histogram_from_jsonb(jsonb)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_from_jsonb_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_from_jsonb(jsonb) IS
'histogram of what histogram_to_jsonb() returns; error for anything else; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_to_jsonb(infra_monitor.histogram)
RETURNS jsonb
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_to_jsonb_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_to_jsonb(infra_monitor.histogram) IS
'array of {"le_seconds": upper bound, "count": observations}, one for each bucket that is not empty; the bound of the last one is "+Inf"; for pg_monitor';

CREATE CAST (jsonb AS infra_monitor.histogram)
WITH FUNCTION infra_monitor.histogram_from_jsonb(jsonb);

CREATE CAST (infra_monitor.histogram AS jsonb)
WITH FUNCTION infra_monitor.histogram_to_jsonb(infra_monitor.histogram);

--
-- operators
--

CREATE FUNCTION infra_monitor.histogram_add(infra_monitor.histogram, infra_monitor.histogram)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_add_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_add(infra_monitor.histogram, infra_monitor.histogram) IS
'the observations of both; error if there are more than 2^63 - 1; for pg_monitor';

CREATE OPERATOR infra_monitor.+ (
	LEFTARG = infra_monitor.histogram,
	RIGHTARG = infra_monitor.histogram,
	FUNCTION = infra_monitor.histogram_add,
	COMMUTATOR = OPERATOR(infra_monitor.+)
);
COMMENT ON OPERATOR infra_monitor.+ (infra_monitor.histogram, infra_monitor.histogram) IS
'the observations of both';

CREATE FUNCTION infra_monitor.histogram_subtract(infra_monitor.histogram, infra_monitor.histogram)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_subtract_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_subtract(infra_monitor.histogram, infra_monitor.histogram) IS
'the first without the observations of the second; error if a bucket would be negative; for pg_monitor';

CREATE OPERATOR infra_monitor.- (
	LEFTARG = infra_monitor.histogram,
	RIGHTARG = infra_monitor.histogram,
	FUNCTION = infra_monitor.histogram_subtract
);
COMMENT ON OPERATOR infra_monitor.- (infra_monitor.histogram, infra_monitor.histogram) IS
'the first without the observations of the second';

CREATE FUNCTION infra_monitor.histogram_eq(infra_monitor.histogram, infra_monitor.histogram)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_eq_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_eq(infra_monitor.histogram, infra_monitor.histogram) IS
'are all counts equal? for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_ne(infra_monitor.histogram, infra_monitor.histogram)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_ne_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_ne(infra_monitor.histogram, infra_monitor.histogram) IS
'are there counts that differ? for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_hash(infra_monitor.histogram)
RETURNS int
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_hash_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_hash(infra_monitor.histogram) IS
'hash value, for GROUP BY and hash joins; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_hash_extended(infra_monitor.histogram, bigint)
RETURNS bigint
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_hash_extended_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_hash_extended(infra_monitor.histogram, bigint) IS
'hash value with a seed, for hash partitioning; for pg_monitor';

CREATE OPERATOR infra_monitor.= (
	LEFTARG = infra_monitor.histogram,
	RIGHTARG = infra_monitor.histogram,
	FUNCTION = infra_monitor.histogram_eq,
	COMMUTATOR = OPERATOR(infra_monitor.=),
	NEGATOR = OPERATOR(infra_monitor.<>),
	RESTRICT = eqsel,
	JOIN = eqjoinsel,
	HASHES
);
COMMENT ON OPERATOR infra_monitor.= (infra_monitor.histogram, infra_monitor.histogram) IS
'are all counts equal?';

CREATE OPERATOR infra_monitor.<> (
	LEFTARG = infra_monitor.histogram,
	RIGHTARG = infra_monitor.histogram,
	FUNCTION = infra_monitor.histogram_ne,
	COMMUTATOR = OPERATOR(infra_monitor.<>),
	NEGATOR = OPERATOR(infra_monitor.=),
	RESTRICT = neqsel,
	JOIN = neqjoinsel
);
COMMENT ON OPERATOR infra_monitor.<> (infra_monitor.histogram, infra_monitor.histogram) IS
'are there counts that differ?';

CREATE OPERATOR CLASS infra_monitor.histogram_ops
DEFAULT FOR TYPE infra_monitor.histogram USING hash AS
	OPERATOR 1 infra_monitor.= (infra_monitor.histogram, infra_monitor.histogram),
	FUNCTION 1 infra_monitor.histogram_hash(infra_monitor.histogram),
	FUNCTION 2 infra_monitor.histogram_hash_extended(infra_monitor.histogram, bigint);
COMMENT ON OPERATOR CLASS infra_monitor.histogram_ops USING hash IS
'histograms can be grouped and joined by equality; there is no order';

--
-- what a histogram says
--

CREATE AGGREGATE infra_monitor.sum(infra_monitor.histogram) (
	SFUNC = infra_monitor.histogram_add,
	STYPE = infra_monitor.histogram,
	COMBINEFUNC = infra_monitor.histogram_add,
	MSFUNC = infra_monitor.histogram_add,
	MINVFUNC = infra_monitor.histogram_subtract,
	MSTYPE = infra_monitor.histogram,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE infra_monitor.sum(infra_monitor.histogram) IS
'the observations of all; NULL if there is no histogram; error if there are more than 2^63 - 1; for pg_monitor';

CREATE FUNCTION infra_monitor.quantile(infra_monitor.histogram, q float8)
RETURNS float8
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_quantile_1_0';
COMMENT ON FUNCTION infra_monitor.quantile(infra_monitor.histogram, float8) IS
'duration in milliseconds that a share q of the observations does not exceed, off by 14.3 percent at most from 1 us to 10 000 s; NULL if there are none; error unless q is from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.fraction(infra_monitor.histogram, duration float8)
RETURNS float8
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_fraction_1_0';
COMMENT ON FUNCTION infra_monitor.fraction(infra_monitor.histogram, float8) IS
'share of the observations that do not exceed a duration in milliseconds, 0 to 1: exact at a bound of a bucket, interpolated within one; NULL if there are none; error for NaN; for pg_monitor';

CREATE FUNCTION infra_monitor.observations(infra_monitor.histogram)
RETURNS bigint
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_observations_1_0';
COMMENT ON FUNCTION infra_monitor.observations(infra_monitor.histogram) IS
'how many durations were counted; for pg_monitor';

CREATE FUNCTION infra_monitor.buckets(infra_monitor.histogram,
	OUT le_seconds float8, OUT cumulative bigint)
RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 202
AS 'MODULE_PATHNAME', 'imon_buckets_1_0';
COMMENT ON FUNCTION infra_monitor.buckets(infra_monitor.histogram) IS
'the 202 buckets, empty ones too, in ascending order: upper bound in seconds, the last one Infinity, and observations up to it; for pg_monitor';
