"""Which modules programs may import, and which of their names.

A name is left out when it reaches files, the network, processes or other modules, or reads attributes by names that the
program chooses (string.Formatter, typing.get_type_hints, functools.singledispatch, collections.UserString,
weakref.proxy), or takes its values from functions that are not the program's (inspect.signature).
"""

from collections.abc import Mapping

__all__ = ["INSTEAD", "MODULE_NAMES", "MODULE_TABLE", "OS_NAMES"]

MODULE_TABLE: Mapping[str, str] = {
    "abc": "ABC abstractmethod",
    "array": "array typecodes",
    "asyncio": "ALL_COMPLETED as_completed Barrier BoundedSemaphore CancelledError Condition create_task current_task "
    "ensure_future Event FIRST_COMPLETED FIRST_EXCEPTION Future gather InvalidStateError iscoroutine "
    "iscoroutinefunction LifoQueue Lock PriorityQueue Queue QueueEmpty QueueFull Semaphore shield sleep Task "
    "TaskGroup timeout TimeoutError wait wait_for",
    "base64": "a85decode a85encode b16decode b16encode b32decode b32encode b64decode b64encode b85decode b85encode "
    "standard_b64decode standard_b64encode urlsafe_b64decode urlsafe_b64encode",
    "binascii": "a2b_base64 a2b_hex b2a_base64 b2a_hex crc32 Error hexlify unhexlify",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "bz2": "compress decompress",
    "calendar": "Calendar calendar day_abbr day_name FRIDAY HTMLCalendar isleap leapdays MONDAY month month_abbr "
    "month_name monthcalendar monthrange SATURDAY SUNDAY TextCalendar THURSDAY timegm TUESDAY WEDNESDAY weekday",
    "cmath": "acos acosh asin asinh atan atanh cos cosh e exp inf isclose isfinite isinf isnan log log10 nan phase pi "
    "polar rect sin sinh sqrt tan tanh tau",
    "codecs": "BOM_UTF8 decode encode",
    "collections": "ChainMap Counter defaultdict deque namedtuple OrderedDict UserDict UserList",
    "collections.abc": "AsyncGenerator AsyncIterable AsyncIterator Awaitable Callable Collection Container Coroutine "
    "Generator Hashable ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping MutableSequence "
    "MutableSet Reversible Sequence Set Sized ValuesView",
    "concurrent.futures": "ALL_COMPLETED as_completed CancelledError Executor FIRST_COMPLETED FIRST_EXCEPTION Future "
    "InvalidStateError ThreadPoolExecutor TimeoutError wait",
    "configparser": "BasicInterpolation ConfigParser DuplicateOptionError DuplicateSectionError Error "
    "ExtendedInterpolation InterpolationError MissingSectionHeaderError NoOptionError NoSectionError ParsingError "
    "RawConfigParser SectionProxy",
    "contextlib": "AbstractAsyncContextManager AbstractContextManager aclosing asynccontextmanager AsyncExitStack "
    "closing ContextDecorator contextmanager ExitStack nullcontext suppress",
    "colorsys": "hls_to_rgb hsv_to_rgb rgb_to_hls rgb_to_hsv rgb_to_yiq yiq_to_rgb",
    "contextvars": "ContextVar Token",
    "copy": "copy deepcopy Error",
    "csv": "Dialect DictReader DictWriter Error excel excel_tab field_size_limit get_dialect list_dialects QUOTE_ALL "
    "QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC QUOTE_NOTNULL QUOTE_STRINGS reader register_dialect Sniffer "
    "unix_dialect unregister_dialect writer",
    "dataclasses": "asdict astuple dataclass field fields FrozenInstanceError InitVar is_dataclass KW_ONLY MISSING "
    "replace",
    "datetime": "date datetime MAXYEAR MINYEAR time timedelta timezone tzinfo UTC",
    "decimal": "BasicContext Context Decimal DecimalException DefaultContext DivisionByZero ExtendedContext "
    "getcontext Inexact InvalidOperation localcontext Overflow ROUND_05UP ROUND_CEILING ROUND_DOWN ROUND_FLOOR "
    "ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP Rounded setcontext Underflow",
    "difflib": "context_diff Differ get_close_matches ndiff restore SequenceMatcher unified_diff",
    "enum": "auto CONFORM CONTINUOUS EJECT Enum Flag IntEnum IntFlag KEEP member NAMED_FLAGS nonmember ReprEnum "
    "StrEnum STRICT UNIQUE unique verify",
    "errno": "EACCES EEXIST EINVAL EIO EISDIR ENOENT ENOSPC ENOTDIR ENOTEMPTY EPERM ETIMEDOUT errorcode",
    "fnmatch": "filter fnmatch fnmatchcase translate",
    "fractions": "Fraction",
    "functools": "cache cached_property cmp_to_key lru_cache partial partialmethod reduce total_ordering",
    "gzip": "BadGzipFile compress decompress",
    "graphlib": "CycleError TopologicalSorter",
    "hashlib": "algorithms_available algorithms_guaranteed blake2b blake2s md5 new pbkdf2_hmac scrypt sha1 sha224 "
    "sha256 sha384 sha3_224 sha3_256 sha3_384 sha3_512 sha512 shake_128 shake_256",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "hmac": "compare_digest digest new",
    "html": "escape unescape",
    "html.parser": "HTMLParser",
    "inspect": "cleandoc isawaitable isbuiltin isclass iscoroutine iscoroutinefunction isfunction isgenerator "
    "isgeneratorfunction ismethod Parameter",
    "io": "BytesIO StringIO",
    "ipaddress": "AddressValueError collapse_addresses ip_address ip_interface ip_network IPv4Address IPv4Interface "
    "IPv4Network IPv6Address IPv6Interface IPv6Network NetmaskValueError summarize_address_range",
    "itertools": "accumulate batched chain combinations combinations_with_replacement compress count cycle dropwhile "
    "filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest",
    "json": "dump dumps JSONDecodeError JSONDecoder JSONEncoder load loads",
    "keyword": "iskeyword issoftkeyword kwlist",
    "lzma": "compress decompress LZMAError",
    "math": "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 "
    "expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp "
    "lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt sumprod tan "
    "tanh tau trunc ulp",
    "numbers": "Complex Integral Number Rational Real",
    "operator": "abs add and_ concat contains countOf delitem eq floordiv ge getitem gt iadd iand iconcat ifloordiv "
    "ilshift imod imul index indexOf inv invert ior ipow irshift is_ is_not isub itemgetter itruediv ixor le "
    "length_hint lshift lt matmul mod mul ne neg not_ or_ pos pow rshift setitem sub truediv truth xor",
    "pprint": "isreadable isrecursive pformat PrettyPrinter saferepr",
    "queue": "Empty Full LifoQueue PriorityQueue Queue SimpleQueue",
    "random": "betavariate choice choices expovariate gammavariate gauss getrandbits getstate lognormvariate "
    "normalvariate paretovariate randbytes randint Random random randrange sample seed setstate shuffle "
    "SystemRandom triangular uniform vonmisesvariate weibullvariate",
    "re": "A ASCII compile DOTALL error escape findall finditer fullmatch I IGNORECASE M Match match MULTILINE NOFLAG "
    "Pattern purge RegexFlag S search split sub subn U UNICODE VERBOSE X",
    "reprlib": "Repr repr",
    "secrets": "choice compare_digest randbelow randbits token_bytes token_hex token_urlsafe",
    "statistics": "correlation covariance fmean geometric_mean harmonic_mean linear_regression mean median "
    "median_grouped median_high median_low mode multimode NormalDist pstdev pvariance quantiles StatisticsError "
    "stdev variance",
    "string": "ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits printable "
    "punctuation Template whitespace",
    "struct": "calcsize error iter_unpack pack Struct unpack unpack_from",
    "textwrap": "dedent fill indent shorten TextWrapper wrap",
    "time": "asctime ctime gmtime localtime mktime monotonic monotonic_ns perf_counter perf_counter_ns process_time "
    "process_time_ns sleep strftime strptime struct_time time time_ns",
    "tomllib": "load loads TOMLDecodeError",
    "types": "AsyncGeneratorType BuiltinFunctionType CoroutineType EllipsisType GeneratorType MappingProxyType "
    "MethodType NoneType NotImplementedType SimpleNamespace UnionType",
    "typing": "AbstractSet Annotated Any AnyStr assert_never assert_type AsyncContextManager AsyncGenerator "
    "AsyncIterable AsyncIterator Awaitable Callable cast ChainMap ClassVar Collection Concatenate Container "
    "ContextManager Coroutine Counter dataclass_transform DefaultDict Deque Dict Final final FrozenSet Generator "
    "Generic get_args get_origin Hashable IO is_typeddict ItemsView Iterable Iterator KeysView List Literal "
    "LiteralString Mapping MappingView Match MutableMapping MutableSequence MutableSet NamedTuple Never NewType "
    "no_type_check NoReturn NotRequired Optional OrderedDict overload override ParamSpec Pattern Protocol Required "
    "reveal_type Reversible runtime_checkable Self Sequence Set Sized SupportsAbs SupportsBytes SupportsComplex "
    "SupportsFloat SupportsIndex SupportsInt SupportsRound Text TextIO Tuple Type TYPE_CHECKING TypeAlias TypedDict "
    "TypeGuard TypeVar TypeVarTuple Union Unpack ValuesView",
    "unicodedata": "bidirectional category combining decimal digit east_asian_width is_normalized lookup mirrored "
    "name normalize numeric unidata_version",
    "urllib.parse": "parse_qs parse_qsl quote quote_plus unquote unquote_plus urldefrag urlencode urljoin urlparse "
    "urlsplit urlunparse urlunsplit",
    "uuid": "NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 UUID uuid3 uuid4 uuid5",
    "weakref": "ref WeakKeyDictionary WeakSet WeakValueDictionary",
    "xml.etree.ElementTree": "Comment dump Element ElementTree fromstring fromstringlist indent iselement iterparse "
    "parse ParseError PI ProcessingInstruction QName register_namespace SubElement tostring tostringlist TreeBuilder "
    "XML XMLID XMLParser",
    "xml.sax.saxutils": "escape quoteattr unescape",
    "zlib": "adler32 compress crc32 decompress error",
    "zoneinfo": "ZoneInfo ZoneInfoNotFoundError",
}
# Made of our own parts only.
_OURS = (
    "argparse",
    "ast",
    "glob",
    "logging",
    "os",
    "os.path",
    "pathlib",
    "platform",
    "shlex",
    "shutil",
    "sys",
    "tempfile",
    "threading",
    "timeit",
    "traceback",
    "warnings",
)
MODULE_NAMES = tuple(sorted((*MODULE_TABLE, *_OURS)))
# What takes the place of those that models ask for most.
INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(
        ("_thread", "multiprocessing"),
        "there is one process; threading and concurrent.futures have threads that take turns",
    ),
    **dict.fromkeys(
        ("marshal", "pickle", "shelve"), "json writes data as text, copy copies objects"
    ),
    **dict.fromkeys(
        ("http", "httpx", "requests", "socket", "ssl", "urllib"),
        "there is no network; in mode docker a program reaches the hosts that it asks for",
    ),
    **dict.fromkeys(
        ("matplotlib", "numpy", "pandas", "scipy", "sklearn"),
        "mode docker has the packages that a program asks for",
    ),
    **dict.fromkeys(("sqlite3", "unittest"), "mode docker has it"),
    "xml": "xml.etree.ElementTree reads and writes XML",
    **dict.fromkeys(("dotenv", "getpass"), "what a program is given is in `inputs`"),
    "subprocess": "there are no other programs; mode docker has some",
}
# What paths.py offers of it.
OS_NAMES = frozenset(
    "curdir extsep fspath linesep listdir makedirs mkdir pardir path remove rename replace rmdir sep stat unlink "
    "walk".split()
)
