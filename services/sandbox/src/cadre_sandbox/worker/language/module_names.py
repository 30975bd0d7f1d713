"""Which modules programs may import, and which of their names.

A name is left out when it reaches files, the network, processes or other modules, or reads attributes by names that the
program chooses (string.Formatter, typing.get_type_hints, functools.singledispatch, collections.UserString).
"""

from collections.abc import Mapping

__all__ = ["MODULE_NAMES", "MODULE_TABLE"]

MODULE_TABLE: Mapping[str, str] = {
    "abc": "ABC abstractmethod",
    "base64": "b16decode b16encode b32decode b32encode b64decode b64encode b85decode b85encode a85decode "
    "a85encode standard_b64decode standard_b64encode urlsafe_b64decode urlsafe_b64encode",
    "binascii": "hexlify unhexlify crc32 a2b_hex b2a_hex a2b_base64 b2a_base64 Error",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "calendar": "Calendar HTMLCalendar TextCalendar calendar day_abbr day_name isleap leapdays month month_abbr "
    "month_name monthcalendar monthrange timegm weekday MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY",
    "cmath": "acos acosh asin asinh atan atanh cos cosh e exp inf isclose isfinite isinf isnan log log10 nan "
    "phase pi polar rect sin sinh sqrt tan tanh tau",
    "collections": "ChainMap Counter OrderedDict UserDict UserList defaultdict deque namedtuple",
    "collections.abc": "Callable Collection Container Generator Hashable ItemsView Iterable Iterator KeysView "
    "Mapping MutableMapping MutableSequence MutableSet Reversible Sequence Set Sized ValuesView",
    "contextlib": "AbstractContextManager ContextDecorator ExitStack closing contextmanager nullcontext suppress",
    "copy": "copy deepcopy Error",
    "csv": "DictReader DictWriter Error QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC Sniffer excel "
    "excel_tab reader unix_dialect writer",
    "dataclasses": "FrozenInstanceError InitVar KW_ONLY MISSING asdict astuple dataclass field fields is_dataclass "
    "replace",
    "datetime": "MAXYEAR MINYEAR UTC date datetime time timedelta timezone tzinfo",
    "decimal": "BasicContext Context Decimal DecimalException DefaultContext DivisionByZero ExtendedContext Inexact "
    "InvalidOperation Overflow ROUND_05UP ROUND_CEILING ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN "
    "ROUND_HALF_UP ROUND_UP Rounded Underflow getcontext localcontext setcontext",
    "difflib": "Differ SequenceMatcher context_diff get_close_matches ndiff restore unified_diff",
    "enum": "Enum Flag IntEnum IntFlag StrEnum auto unique nonmember member",
    "fractions": "Fraction",
    "functools": "cache cached_property cmp_to_key lru_cache partial reduce total_ordering",
    "graphlib": "CycleError TopologicalSorter",
    "hashlib": "algorithms_available algorithms_guaranteed blake2b blake2s md5 new pbkdf2_hmac scrypt sha1 sha224 "
    "sha256 sha384 sha3_224 sha3_256 sha3_384 sha3_512 sha512 shake_128 shake_256",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "hmac": "compare_digest digest new",
    "html": "escape unescape",
    "io": "BytesIO StringIO",
    "itertools": "accumulate chain combinations combinations_with_replacement compress count cycle dropwhile "
    "filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest batched",
    "json": "JSONDecodeError JSONDecoder JSONEncoder dump dumps load loads",
    "keyword": "iskeyword issoftkeyword kwlist",
    "math": "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 "
    "expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp "
    "lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt sumprod tan tanh "
    "tau trunc ulp",
    "numbers": "Complex Integral Number Rational Real",
    "operator": "abs add and_ concat contains countOf delitem eq floordiv ge getitem gt iadd iand iconcat ifloordiv "
    "ilshift imod imul index indexOf inv invert ior ipow irshift is_ is_not isub itemgetter itruediv ixor le "
    "length_hint lshift lt matmul mod mul ne neg not_ or_ pos pow rshift setitem sub truediv truth xor",
    "pprint": "pformat saferepr",
    "random": "Random SystemRandom betavariate choice choices expovariate gammavariate gauss getrandbits "
    "lognormvariate normalvariate paretovariate randbytes randint random randrange sample seed shuffle triangular "
    "uniform vonmisesvariate weibullvariate getstate setstate",
    "re": "A ASCII DOTALL I IGNORECASE M MULTILINE Match Pattern RegexFlag S VERBOSE X U UNICODE compile error escape "
    "findall finditer fullmatch match purge search split sub subn",
    "secrets": "choice compare_digest randbelow randbits token_bytes token_hex token_urlsafe",
    "statistics": "NormalDist StatisticsError correlation covariance fmean geometric_mean harmonic_mean "
    "linear_regression mean median median_grouped median_high median_low mode multimode pstdev pvariance quantiles "
    "stdev variance",
    "string": "Template ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits "
    "printable punctuation whitespace",
    "struct": "Struct calcsize error iter_unpack pack unpack unpack_from",
    "textwrap": "TextWrapper dedent fill indent shorten wrap",
    "time": "asctime ctime gmtime localtime mktime monotonic monotonic_ns perf_counter perf_counter_ns process_time "
    "process_time_ns sleep strftime strptime struct_time time time_ns",
    "types": "MappingProxyType NoneType SimpleNamespace",
    "typing": "Annotated Any AnyStr Callable ClassVar Collection Concatenate Container Counter DefaultDict Deque Dict "
    "Final FrozenSet Generator Generic Hashable ItemsView Iterable Iterator KeysView List Literal LiteralString "
    "Mapping MutableMapping MutableSequence MutableSet NamedTuple Never NewType NoReturn NotRequired Optional "
    "OrderedDict ParamSpec Protocol Required Reversible Self Sequence Set Sized SupportsAbs SupportsFloat SupportsInt "
    "SupportsIndex TYPE_CHECKING Text Tuple Type TypeAlias TypeGuard TypeVar TypedDict Union ValuesView "
    "assert_never cast final get_args get_origin no_type_check overload override runtime_checkable",
    "unicodedata": "bidirectional category combining decimal digit east_asian_width is_normalized lookup mirrored name "
    "normalize numeric unidata_version",
    "urllib.parse": "parse_qs parse_qsl quote quote_plus unquote unquote_plus urlencode urljoin urlparse urlsplit "
    "urlunparse urlunsplit urldefrag",
    "uuid": "NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 UUID uuid3 uuid4 uuid5",
    "zlib": "adler32 compress crc32 decompress error",
}
# Made of our own parts only.
_OURS = ("ast", "sys", "traceback", "warnings")
MODULE_NAMES = tuple(sorted((*MODULE_TABLE, *_OURS)))
