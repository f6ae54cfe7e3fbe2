"""What a predicate may call: Spark's functions that answer the same for the same row."""

from __future__ import annotations

from collections.abc import Mapping

_OF_A_ROW = """
    abs acos acosh add_months aes_decrypt aggregate approx_top_k_estimate array array_append
    array_compact array_contains array_distinct array_except array_insert array_intersect
    array_join array_max array_min array_position array_prepend array_remove array_repeat
    array_size array_sort array_union arrays_overlap arrays_zip ascii asin asinh assert_true
    atan atan2 atanh base64 between bigint bin binary bit_count bit_get bit_length
    bitmap_bit_position bitmap_bucket_number bitmap_count boolean bround btrim cardinality cbrt
    ceil ceiling char char_length character_length chr coalesce collate collation concat
    concat_ws contains conv convert_timezone cos cosh cot crc32 csc date date_add date_diff
    date_format date_from_unix_date date_part date_sub date_trunc dateadd datediff datepart day
    dayname dayofmonth dayofweek dayofyear decimal decode degrees double e element_at elt encode
    endswith equal_null exists exp expm1 factorial filter find_in_set flatten float floor forall
    format_number format_string from_csv from_json from_unixtime from_utc_timestamp from_xml get
    get_json_object getbit greatest hash hex hll_sketch_estimate hll_union hour hypot if ifnull
    ilike initcap instr int is_valid_utf8 is_variant_null isnan isnotnull isnull
    json_array_length json_object_keys kll_sketch_get_n_bigint kll_sketch_get_n_double
    kll_sketch_get_n_float kll_sketch_get_quantile_bigint kll_sketch_get_quantile_double
    kll_sketch_get_quantile_float kll_sketch_get_rank_bigint kll_sketch_get_rank_double
    kll_sketch_get_rank_float kll_sketch_merge_bigint kll_sketch_merge_double
    kll_sketch_merge_float kll_sketch_to_string_bigint kll_sketch_to_string_double
    kll_sketch_to_string_float last_day lcase least left len length levenshtein like ln locate
    log log10 log1p log2 lower lpad ltrim luhn_check make_date make_dt_interval make_interval
    make_time make_timestamp make_timestamp_ltz make_timestamp_ntz make_valid_utf8
    make_ym_interval map map_concat map_contains_key map_entries map_filter map_from_arrays
    map_from_entries map_keys map_values map_zip_with mask md5 minute mod month monthname
    months_between named_struct nanvl negative next_day not nullif nullifzero nvl nvl2
    octet_length overlay parse_json parse_url pi pmod position positive pow power printf quarter
    quote radians raise_error reduce regexp regexp_count regexp_extract regexp_extract_all
    regexp_instr regexp_like regexp_replace regexp_substr repeat replace reverse right rint
    rlike round rpad rtrim schema_of_csv schema_of_json schema_of_variant schema_of_xml sec
    second sentences sequence sha sha1 sha2 shiftleft shiftright shiftrightunsigned sign signum
    sin sinh size slice smallint sort_array soundex space split split_part sqrt st_asbinary
    st_geogfromwkb st_geomfromwkb st_setsrid st_srid startswith str_to_map string struct substr
    substring substring_index tan tanh theta_difference theta_intersection theta_sketch_estimate
    theta_union time time_diff time_trunc timestamp timestamp_micros timestamp_millis
    timestamp_seconds timestampadd timestampdiff tinyint to_binary to_char to_csv to_date
    to_json to_number to_time to_timestamp to_timestamp_ltz to_timestamp_ntz to_unix_timestamp
    to_utc_timestamp to_varchar to_variant_object to_xml transform transform_keys
    transform_values translate trim trunc try_add try_aes_decrypt try_divide try_element_at
    try_make_interval try_make_timestamp try_make_timestamp_ltz try_make_timestamp_ntz try_mod
    try_multiply try_parse_json try_parse_url try_subtract try_to_binary try_to_date
    try_to_number try_to_time try_to_timestamp try_url_decode try_validate_utf8 try_variant_get
    typeof ucase unbase64 unhex unix_date unix_micros unix_millis unix_seconds unix_timestamp
    upper url_decode url_encode validate_utf8 variant_get weekday weekofyear when width_bucket
    xpath xpath_boolean xpath_double xpath_float xpath_int xpath_long xpath_number xpath_short
    xpath_string xxhash64 year zeroifnull zip_with
    """
_OF_ROWS = """
    any any_value approx_count_distinct approx_percentile approx_top_k approx_top_k_accumulate
    approx_top_k_combine array_agg avg bit_and bit_or bit_xor bitmap_and_agg bitmap_construct_agg
    bitmap_or_agg bool_and bool_or collect_list collect_set corr count count_if count_min_sketch
    covar_pop covar_samp cume_dist dense_rank every first first_value grouping grouping_id
    histogram_numeric hll_sketch_agg hll_union_agg kll_sketch_agg_bigint kll_sketch_agg_double
    kll_sketch_agg_float kurtosis lag last last_value lead listagg max max_by mean median min min_by
    mode nth_value ntile percent_rank percentile percentile_approx percentile_cont percentile_disc
    rank regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    row_number schema_of_variant_agg session_window skewness some std stddev stddev_pop stddev_samp
    string_agg sum theta_intersection_agg theta_sketch_agg theta_union_agg try_avg try_sum var_pop
    var_samp variance window window_time
    """
_TO_ROWS = """
    collations explode explode_outer inline inline_outer json_tuple posexplode posexplode_outer
    python_worker_logs range sql_keywords stack variant_explode variant_explode_outer
    """

# Of Spark's own functions, those of one row whose answer its values decide.
ALLOWED = frozenset(_OF_A_ROW.split())

# The run's date stands in their place: docs/security.md.
DATES = frozenset({"current_date", "curdate"})
MOMENTS = frozenset({"current_timestamp", "now"})
LOCAL_MOMENTS = frozenset({"localtimestamp"})
FIXED = DATES | MOMENTS | LOCAL_MOMENTS

_RANDOM = "answers otherwise each time"
_CODE = "runs Java code"
_PLACE = "depends on where a row is stored or computed, not on its values"
_WHO = "depends on who runs it, and in which session"
_TIME = "depends on the time at which it runs"

_WITHOUT_BRACKETS = """
    current_catalog current_database current_date current_schema current_time current_timestamp
    current_user localtimestamp session_user user
    """
# Names that Spark takes as calls where there is no column of the name.
BARE = frozenset(_WITHOUT_BRACKETS.split())

# Functions that no setting allows, and why.
REFUSED: Mapping[str, str] = {
    name: why
    for why, names in {
        _RANDOM: """
            aes_encrypt monotonically_increasing_id rand randn random randstr shuffle uniform uuid
            """,
        _CODE: "java_method reflect try_reflect",
        _PLACE: """
            input_file_block_length input_file_block_start input_file_name spark_partition_id
            """,
        _WHO: """
            current_catalog current_database current_schema current_timezone current_user
            getvariable identifier session_user user version
            """,
        _TIME: "current_time",
        "is of many rows, and a predicate is of one": _OF_ROWS,
        "makes rows, and a predicate tells of one": _TO_ROWS,
        "reads a file that its arguments name": """
            from_avro from_protobuf schema_of_avro to_avro to_protobuf
            """,
    }.items()
    for name in names.split()
}


def refused(name: str) -> str | None:
    """Say why no setting can allow a function; None where one can.

    Examples
    --------
    >>> refused("cleaned") is None, refused("sys.reflect")
    (True, "'sys.reflect' can't be allowed: it runs Java code")
    """
    why = REFUSED.get(name.lower().rpartition(".")[2])
    return f"{name!r} can't be allowed: it {why}" if why else None
