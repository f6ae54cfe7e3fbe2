"""Comments under articles: what moderators look at apart."""

import itertools
import re
import string
import unicodedata
from collections import Counter
from datetime import date, datetime, timedelta, timezone

import pyarrow as pa

from engine import SlicingFunction, slicing_function

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("text", pa.string()),
        ("title", pa.string()),
        ("author", pa.string()),
        ("likes", pa.int64()),
        ("replies", pa.int32()),
        ("score", pa.float64()),
        ("tags", pa.list_(pa.string())),
        ("posted", pa.timestamp("us", "UTC")),
        ("edited", pa.timestamp("us", "UTC")),
        ("joined", pa.date32()),
        ("lang", pa.string()),
        ("flags", pa.map_(pa.string(), pa.int64())),
        (
            "user",
            pa.struct(
                [
                    ("name", pa.string()),
                    ("karma", pa.int64()),
                    ("verified", pa.bool_()),
                    ("country", pa.string()),
                ]
            ),
        ),
    ]
)


def at(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


POOLS = {
    "id": [*range(1, 40), -5, 0, 2**53, None],
    "text": [
        "Check out my channel http://bit.ly/a and http://bit.ly/b and https://x.co/c !!!",
        "I agree with the second point, thanks for the write-up.",
        "BUY NOW!!! CHEAP WATCHES!!! www.deals.example",
        "ok",
        "",
        "   ",
        "Thanks 😀😀😀 this made my day ❤️",
        "why why why why would anyone do this",
        "You are an idiot and a moron, @alice",
        "Call me at +1 555 010 2030 or mail me: bob@example.org",
        "soooooo goooood",
        "First!",
        "Das ist nicht ganz richtig, siehe § 5 Abs. 2",
        "это неправда",
        "これは良い記事ですね",
        "Send 0.5 BTC to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT and get $1,000 back",
        'He said (and I quote "never again") but then he did it again...',
        "line one\nline two\n\n> quoted line\nline four",
        "<b>bold</b> and <script>alert(1)</script>",
        "f u c k this s h i t",
        "Is this true? Really? Are you sure?",
        "Great read! Great read! Great read!",
        "@alice @bob @carol what do you think? #news #politics",
        "I think that the author of this article has a point when she says that long comments "
        "are rarely read to their end, and that nobody answers them, which is a pity because "
        "there is much to be learned from what people write when they take their time.",
        "lol",
        "LOL THIS IS SO FUNNY",
        "İstanbul ﬁne ß straße",
        None,
    ],
    "title": ["Re: budget", "RE: RE: budget", "Hello world", "", " ", "WIN A PRIZE", "a-b-c", None],
    "author": ["alice", "bob_1987", "xX_troll_Xx", "user8374651", "anna.maria", "BOT-7", "", None],
    "likes": [0, 1, 2, 3, 10, 57, 1000, 12345, -1, None],
    "replies": [0, 0, 1, 2, 5, 40, None],
    "score": [0.0, 0.5, -0.75, 0.99, 1.0, -1.0, 3.25, float("nan"), float("inf"), None],
    "tags": [
        [],
        ["news"],
        ["news", "politics"],
        ["sports", "news", "local", "opinion"],
        ["spam?", None],
        ["NSFW"],
        ["politics", "politics", "war"],
        ["a", "bb", "ccc"],
        None,
    ],
    "posted": [
        at(2024, 1, 1, 0, 0),
        at(2024, 2, 29, 23, 59, 59),
        at(2024, 3, 31, 1, 30),
        at(2024, 6, 14, 9, 15, 30),
        at(2024, 6, 15, 13, 0),
        at(2024, 6, 16, 3, 20),
        at(2023, 12, 24, 18, 0, 0, 999999),
        at(1969, 12, 31, 23, 0),
        None,
    ],
    "edited": [
        at(2024, 1, 1, 0, 4),
        at(2024, 3, 1, 0, 10),
        at(2024, 6, 14, 9, 16),
        at(2024, 7, 1, 12, 0),
        at(2023, 12, 24, 17, 0),
        None,
        None,
    ],
    "joined": [date(2024, 6, 1), date(2010, 5, 17), date(2023, 12, 31), date(2024, 2, 29), None],
    "lang": ["en", "de", "ru", "ja", "EN ", "", "tr", None],
    "flags": [
        {},
        {"spam": 1},
        {"spam": 4, "abuse": 1},
        {"abuse": 0},
        {"off-topic": 2, "spam": 0, "abuse": 3},
        {"spam": None},
        None,
    ],
    "user": [
        {"name": "Alice", "karma": 1200, "verified": True, "country": "US"},
        {"name": "bob", "karma": 3, "verified": False, "country": "DE"},
        {"name": "Троль", "karma": -40, "verified": None, "country": None},
        {"name": None, "karma": None, "verified": False, "country": "RU"},
        {"name": "", "karma": 0, "verified": True, "country": "JP"},
        None,
    ],
}
ROWS = [
    {"id": 100, "text": "spam " * 30, "likes": 0, "tags": ["x"] * 12, "user": {"karma": 999_999}},
    {"id": 101, "text": "aaa bbb aaa bbb aaa bbb aaa", "author": "alice", "flags": {"spam": 9}},
    {"id": 102, "text": "a" * 300 + " end.", "title": "Hello", "lang": "en"},
    {"id": 104, "text": "smile :) (and never mind", "user": {"name": "carol", "karma": 5}},
    {"id": 103, "text": "STOP SHOUTING at me", "author": "Bob", "score": 0.1, "likes": 4},
]

URL = re.compile(r"https?://[^\s]+|www\.[^\s]+", re.IGNORECASE)
EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
INSULTS = ["idiot", "moron", "stupid", "loser"]
STOPWORDS = {"the", "a", "an", "and", "or", "of", "to", "is", "in", "it", "that"}
SEVERITY = {"spam": 2, "abuse": 5, "off-topic": 1}
MAX_CAPS = 0.5


@slicing_function()
def many_urls(x):
    """Three links or more."""
    return len(URL.findall(x.text)) >= 3


@slicing_function()
def url_count_by_split(x):
    urls = [w for w in x.text.split() if w.startswith("http://") or w.startswith("https://")]
    return len(urls) > 1


@slicing_function()
def mostly_capitals(x):
    """More than half of the letters are capitals."""
    letters = [c for c in x.text if c.isalpha()]
    if not letters:
        return False
    upper = sum(1 for c in letters if c.isupper())
    return upper / len(letters) > MAX_CAPS


@slicing_function()
def caps_share_of_all(x):
    if x.text is None or len(x.text) == 0:
        return False
    caps = 0
    for ch in x.text:
        if "A" <= ch <= "Z":
            caps += 1
    return caps / len(x.text) >= 0.3


@slicing_function()
def has_emoji(x):
    return bool(EMOJI.search(x.text))


@slicing_function()
def emoji_storm(x):
    text = x.text or ""
    return sum(ord(c) > 0x1F000 for c in text) >= 3


@slicing_function()
def exclamation_marks(x):
    return x.text.count("!") >= 3


@slicing_function()
def same_word_over_and_over(x):
    words = x.text.lower().split()
    if len(words) < 3:
        return False
    word, n = Counter(words).most_common(1)[0]
    return n / len(words) > 0.4


@slicing_function()
def stretched_letters(x):
    return re.search(r"([a-z])\1{3,}", x.text.lower()) is not None


@slicing_function()
def stretched_by_groupby(x):
    runs = [len(list(g)) for _, g in itertools.groupby(x.text)]
    return max(runs, default=0) >= 4


@slicing_function()
def insult_to_someone(x):
    t = x.text.lower()
    return any(word in t for word in INSULTS) and "@" in t


@slicing_function()
def spaced_out_profanity(x):
    squeezed = re.sub(r"\s+", "", x.text.lower())
    return "fuck" in squeezed or "shit" in squeezed


@slicing_function()
def mentions_three(x):
    mentions = set(re.findall(r"@(\w+)", x.text))
    return len(mentions) >= 3


@slicing_function()
def has_hashtag(x):
    for token in x.text.split():
        if token.startswith("#") and len(token) > 1:
            return True
    return False


@slicing_function()
def contact_details(x):
    email = re.search(r"[\w.+-]+@[\w-]+\.[\w.]+", x.text)
    phone = re.search(r"\+?\d[\d\s().-]{7,}\d", x.text)
    return bool(email or phone)


@slicing_function()
def not_latin(x):
    """More letters of other scripts than Latin."""
    latin = other = 0
    for c in x.text:
        if not c.isalpha():
            continue
        if "LATIN" in unicodedata.name(c, ""):
            latin += 1
        else:
            other += 1
    return other > latin


@slicing_function()
def non_ascii_share(x):
    if not x.text:
        return -1
    return 1 if len([c for c in x.text if ord(c) > 127]) / len(x.text) > 0.25 else 0


@slicing_function()
def only_whitespace(x):
    return x.text is not None and x.text.strip() == ""


@slicing_function()
def no_title(x):
    return x.title is None or x.title.strip() == ""


@slicing_function()
def reply_title(x):
    return x.title.upper().startswith("RE:")


@slicing_function()
def title_in_text(x):
    if x.title and x.text:
        return x.title.lower() in x.text.lower()
    return False


@slicing_function()
def short_and_liked(x):
    return len(x.text) < 20 and x.likes > 2


@slicing_function()
def weekend_comment(x):
    return x.posted.weekday() >= 5


@slicing_function()
def posted_at_night(x):
    h = x.posted.hour
    return h >= 22 or h < 6


@slicing_function()
def edited_soon(x):
    """Edited within five minutes."""
    if x.edited is None:
        return False
    return timedelta(0) <= x.edited - x.posted <= timedelta(minutes=5)


@slicing_function()
def edited_a_day_later(x):
    return x["edited"] is not None and (x["edited"] - x["posted"]).total_seconds() > 24 * 3600


@slicing_function()
def new_member(x):
    return (x.posted.date() - x.joined).days < 30


@slicing_function()
def severe_flags(x):
    total = 0
    for kind, n in x.flags.items():
        total += SEVERITY.get(kind, 1) * (n or 0)
    return total >= 8


@slicing_function()
def flagged_as_spam(x):
    return x.flags is not None and x.flags.get("spam", 0) is not None and x.flags.get("spam", 0) > 0


@slicing_function()
def low_karma(x):
    return x.user is not None and (x.user.karma or 0) < 10


@slicing_function()
def unverified_stranger(x):
    user = x.user
    if user is None:
        return True
    if user.verified:
        return False
    return user.country not in ("US", "GB", "DE")


@slicing_function()
def bot_like_name(x):
    """A name that ends in many digits, or says that it is a bot."""
    return bool(re.fullmatch(r"[a-z]+\d{4,}", x.author)) or "bot" in x.author.lower()


@slicing_function()
def author_is_user(x):
    try:
        return x.author.lower() == x.user.name.lower()
    except AttributeError:
        return False


@slicing_function()
def politics_or_war(x):
    return len({"politics", "war"} & set(x.tags or [])) > 0


@slicing_function()
def tagged_twice(x):
    return len(x.tags) != len(set(x.tags))


@slicing_function()
def many_tags(x):
    return len(x.tags or []) >= 3


@slicing_function()
def nsfw(x):
    return any(t and t.lower() == "nsfw" for t in x.tags)


@slicing_function()
def english(x):
    return x.lang.strip().lower() == "en"


@slicing_function()
def unpunctuated(x):
    words = x.text.split()
    return len(words) > 5 and not any(c in string.punctuation for c in x.text)


@slicing_function()
def html_inside(x):
    return len(re.sub(r"<[^>]+>", "", x.text)) < len(x.text)


@slicing_function()
def more_questions_than_answers(x):
    sentences = [s for s in re.split(r"(?<=[.?!])\s+", x.text.strip()) if s]
    asked = [s for s in sentences if s.endswith("?")]
    return len(asked) * 2 > len(sentences)


@slicing_function()
def quotes_another(x):
    return any(line.lstrip().startswith(">") for line in x.text.splitlines())


@slicing_function()
def few_content_words(x):
    words = re.findall(r"[a-z']+", x.text.lower())
    content = [w for w in words if w not in STOPWORDS and len(w) > 2]
    return len(words) > 0 and len(content) / len(words) < 0.5


def average_word(text):
    words = text.split()
    return sum(map(len, words)) / len(words) if words else 0.0


@slicing_function()
def long_words(x):
    return average_word(x.text) > 6


@slicing_function()
def bitcoin_address(x):
    return re.search(r"\b[13][a-km-zA-HJ-NP-Z1-9]{25,34}\b", x.text) is not None


@slicing_function()
def score_out_of_range(x):
    return not (-1 <= x.score <= 1)


@slicing_function()
def controversial(x):
    if x.replies > 4 and x.likes < 5:
        return True
    elif abs(x.score) < 0.2:
        return True
    else:
        return False


@slicing_function()
def unbalanced_brackets(x):
    depth = 0
    for c in x.text:
        if c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
        if depth < 0:
            return True
    return depth != 0


def contains_any(x, words):
    return any(w in x.text.lower() for w in words)


money_talk = SlicingFunction("money_talk", contains_any, resources={"words": ["btc", "$", "cheap"]})
polite = SlicingFunction("polite", contains_any, resources={"words": ("thanks", "please")})
long_text = SlicingFunction("long_text", lambda x: len(x.text) > 200)
