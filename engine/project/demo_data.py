"""The data of the spam example: comments on five videos, made up here or read from real files.

Both functions give one row per comment, with the same columns:

==========  ======  ======================================================
comment_id  string  unique
author      string
date        string  ISO 8601; null for some
text        string  null for some of the made-up ones
label       int64   1 is spam, 0 is ham
video       int64   1 to 5
split       string  train, valid or test
==========  ======  ======================================================
"""

from __future__ import annotations

import datetime as dt
import html
import random
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import pandas as pd

from engine.errors import TableError, listed
from engine.hashing import unit_interval

COLUMNS = ("comment_id", "author", "date", "text", "label", "video", "split")

YOUTUBE_FILES = (
    "Youtube01-Psy.csv",
    "Youtube02-KatyPerry.csv",
    "Youtube03-LMFAO.csv",
    "Youtube04-Eminem.csv",
    "Youtube05-Shakira.csv",
)

_YOUTUBE_COLUMNS = {
    "COMMENT_ID": "comment_id",
    "AUTHOR": "author",
    "DATE": "date",
    "CONTENT": "text",
    "CLASS": "label",
}

_VIDEOS = (
    {"artist": "Nova Reyes", "song": "Paper Lanterns"},
    {"artist": "The Low Tides", "song": "Harbour Lights"},
    {"artist": "Kito & June", "song": "Midnight Bicycle"},
    {"artist": "Mara Volk", "song": "Glass Garden"},
    {"artist": "Delta Parade", "song": "Sunday Static"},
)

_KINDS = (  # what a comment is, its label, and its share in percent
    ("ham_remark", 0, 18.5),
    ("ham_short", 0, 14.0),
    ("ham_praise", 0, 6.5),
    ("ham_please", 0, 2.5),
    ("ham_subscribe", 0, 2.0),
    ("ham_check_out", 0, 2.0),
    ("ham_link", 0, 1.5),
    ("spam_link", 1, 7.0),  # reads like ham_remark; only the link gives it away
    ("spam_subscribe", 1, 12.0),
    ("spam_please", 1, 8.0),
    ("spam_check_out", 1, 12.5),
    ("spam_offer", 1, 9.0),
    ("spam_praise", 1, 1.5),
    ("spam_short", 1, 3.0),
)

_ENDS = list(accumulate(share for _, _, share in _KINDS))
# A comment is grown from its kind: {name} becomes one of the alternatives of that name. An
# alternative that is there twice comes up twice as often.
_GRAMMAR: Mapping[str, Sequence[str]] = {
    "ham_remark": (
        "{opening}{memory}",
        "{opening}{memory}{stop}{feeling}",
        "{feeling}{stop}{memory}",
        "{feeling}",
        "{question}",
        "{moment}",
        "{moment}{stop}{feeling}",
        "{views}",
        "{views}{stop}{feeling}",
    ),
    "ham_short": (
        "{adjective} song",
        "love this song",
        "nice {thing}",
        "{adjective} {thing}",
        "{artist} <3",
        "{song} on repeat",
        "the {thing} tho",
        "so {adjective}",
        "haha that {thing}",
        "who's here in {year}?",
        "goosebumps at {time}",
        "{time}",
        "still {adjective} in {year}",
        "this {thing}",
        "I miss {year}",
    ),
    "ham_praise": (
        "{superb}",
        "{superb} song",
        "{song} is {superb}",
        "{artist} is {superb}",
        "best song ever",
        "best {thing} ever",
        "the best {thing} of {year}",
        "this {thing} is {superb}",
        "simply {superb}",
    ),
    "ham_please": (
        "please never stop making music {artist}",
        "can someone please tell me who plays the {instrument} at {time}",
        "{artist} please come to {place} this summer, we are waiting for you",
        "please bring the {thing} from {year} back",
        "plz do an acoustic version of {song}",
        "{feeling}{stop}please release the {instrument} version too",
    ),
    "ham_subscribe": (
        "I subscribe to {artist} because of this {thing}",
        "had to subscribe after hearing the {instrument} in {song}",
        "{someone} told me to subscribe to {artist} years ago and was right",
        "the day {song} came out was the day I hit subscribe",
    ),
    "ham_check_out": (
        "{someone} told me to check this song out and now I can't stop",
        "check out the {instrument} at {time}, so good",
        "went to check {artist} out live in {place}, worth every cent",
    ),
    "ham_link": (
        "chords for the {instrument} part are here {link}",
        "full interview about {song} {link} and they talk about the {thing}",
        "{views}{stop}chart is here {link}",
        "{feeling}{stop}live version {link}",
    ),
    "spam_link": (
        "{feeling}{stop}{memory} {link}",
        "{opening}{memory} {link}",
        "{opening}{memory}{stop}live version {link}",
        "{feeling} {link}",
        "{moment}{stop}{feeling} {link}",
        "{link} {feeling}",
        "the {thing} from {year} is here {link} {feeling}",
        "{views} {link}",
    ),
    "spam_subscribe": (
        "subscribe to my channel{bait}",
        "{greeting} subscribe to my channel{bait}",
        "subscribe to me and I will subscribe back{bait}",
        "{greeting} I make {product}{stop}subscribe to my channel",
        "I am at {count} subscribers, help me get to {count}{stop}subscribe",
        "my channel has {product}, subscribe for more every {day}",
        "first {count} people who subscribe get a shoutout on my channel",
    ),
    "spam_please": (
        "{plea} subscribe to my channel{bait}",
        "{plea} like this comment so people can see my {product}",
        "{greeting} {plea} give my {product} a chance{bait}",
        "{plea} watch my video, I worked on it for {count} days",
        "I have a dream to be a singer, {plea} listen to my cover on my channel",
        "{plea} help me, share my page with {count} friends{bait}",
        "thumbs up {plea} so that more people find my {product}",
    ),
    "spam_check_out": (
        "check out my channel{bait}",
        "check out my {product}{bait}",
        "{greeting} check out my new video{bait}",
        "check out this playlist on my channel, {product} every {day}",
        "if you like {artist} check my covers out{bait}",
        "{greeting} come and check us out, we make {product}",
        "check out {site} for free {goods}",
    ),
    "spam_offer": (
        "I make ${count} a week from home, visit {site} to see how",
        "free {goods} at {site}{stop}only {count} left",
        "get {count} followers for your page at {site}",
        "{greeting} win {goods} on my page{stop}share with your friends",
        "work from home and earn money every {day}{stop}{site}",
        "visit {site} and use my code {code} for free {goods}",
        "my new page sells {goods}, follow me and share",
        "vote for me at {site} and win {goods}",
    ),
    "spam_praise": (
        "{superb} {goods} at {site}",
        "best channel ever, mine",
        "best {product} ever on my channel",
        "my {product} is {superb}",
    ),
    "spam_short": (
        "sub 4 sub",
        "follow me back",
        "my channel >>>",
        "visit my page",
        "free {goods} here",
        "look at my channel",
        "{site}",
    ),
    "opening": (
        "I remember when ",
        "that summer when ",
        "every time it rains ",
        "whenever {song} comes on ",
        "funny how ",
        "not gonna lie, ",
        "my turn to say it: ",
        "it's {year} and ",
    ),
    "memory": (
        "{someone} played this in the car all the way to {place}",
        "we danced to {song} in the kitchen",
        "I heard this on the radio in {place}",
        "{someone} and I know every word of {song}",
        "this was the first song I learned on {instrument}",
        "they played {song} at our wedding",
        "{someone} can't sleep without this song",
        "I still get chills from the {thing}",
        "my whole class sang this on the bus",
    ),
    "feeling": (
        "this song makes me happy",
        "I love this song so much",
        "love the {thing} and the {instrument}",
        "the {thing} gets me every time",
        "I can't stop listening to {artist}",
        "nobody does a {thing} like {artist}",
        "this never gets old",
        "{artist} sounds even better live",
        "I don't even like {instrument} & still I love it",
        "what a {adjective} {thing}",
    ),
    "question": (
        "does anyone know what the {thing} means?",
        "am I the only one who cries at {time}?",
        "is that a real {instrument} at {time} or a synth?",
        "why doesn't {artist} play {song} live anymore?",
        "who else came back to this in {year}?",
    ),
    "moment": (
        "{time} is where the {instrument} comes in",
        "that {thing} at {time} though",
        "listen to the {instrument} from {time}",
        "the way the {thing} changes at {time}",
    ),
    "views": (
        "{count} million views and it isn't enough",
        "how does this only have {count} million views",
        "came here when it had {count} views",
        "{count} people disliked this, they have no ears",
    ),
    "bait": (
        "",
        "",
        "{stop}I post {product} every {day}",
        "{stop}thanks guys",
        "{stop}I will return the favour",
        "{stop}we are a small band from {place}",
        "{stop}visit {site}",
        ", you won't regret it",
        " & share it with your friends",
    ),
    "plea": ("please", "please please", "plz", "Please", "pleaseee"),
    "greeting": ("hey guys", "hi everyone,", "yo", "hello people", "hey {artist} fans", "guys"),
    "stop": (". ", ". ", "! ", ", ", " ", "... ", "\n", "\n\n", "<br />", "<br /><br />"),
    "link": ("{stub}.ly/{code}", "{stub}.ly/{code}", "http://{stub}.ly/{code}"),
    "stub": ("goto", "tune", "lnk", "clip", "snip"),
    "site": ("www.{word}{word}.example", "{word}-{word}.example", "http://{word}.example/{code}"),
    "word": ("blue", "hop", "tap", "kite", "moss", "zip", "fern", "pixel", "lark", "ember", "oak"),
    "code": ("{char}{char}{char}{char}{char}", "{char}{char}{char}{char}"),
    "char": tuple("abcdefghjkmnpqrstuvwxyz23456789"),
    "digit": tuple("0123456789"),
    "year": ("2012", "2015", "2018", "2021", "2023", "2024"),
    "time": ("0:42", "1:07", "1:58", "2:10", "2:33", "3:05", "3:21"),
    "count": ("3", "12", "50", "100", "250", "500", "900", "1000", "2500", "10000"),
    "day": ("day", "week", "friday", "weekend"),
    "place": ("Lisbon", "Brazil", "Manila", "Kraków", "Ohio", "the Philippines", "México", "Leeds"),
    "someone": ("my mum", "my dad", "my little brother", "my best friend", "grandpa", "my sister"),
    "thing": ("chorus", "beat", "bridge", "video", "voice", "dance", "intro", "bass line"),
    "instrument": ("guitar", "piano", "cello", "drums", "trumpet", "violin", "ukulele"),
    "adjective": (
        "nice",
        "cool",
        "beautiful",
        "catchy",
        "lovely",
        "funny",
        "weird",
        "sweet",
        "epic",
    ),
    "superb": ("perfect", "awesome", "excellent", "wonderful", "magnificent", "the greatest"),
    "product": ("covers", "remixes", "gaming videos", "dance videos", "beats", "rap", "tutorials"),
    "goods": ("gift cards", "phones", "tickets", "coins", "headphones", "skins", "t-shirts"),
    "author": (
        "{first} {last}",
        "{first} {last}",
        "{first}{digit}{digit}{digit}",
        "xX{first}Xx",
        "{last} {thing}",
        "official {word} {word}",
    ),
    "first": (
        "Ana",
        "Bilal",
        "Chloe",
        "Dmitri",
        "Emeka",
        "Fatima",
        "Grace",
        "José",
        "Мария",
        "美咲",
    ),
    "last": ("Okafor", "Lindqvist", "Tanaka", "O'Neill", "Haddad", "Novák", "Pereira", "Singh"),
    "emoji": ("😍", "❤️", "🔥", "😂", "🎸", "👏", "👍🏽", "🙏", "💯", "😭"),
}

_CHANCE = {
    "no text": 0.01,
    "no date": 0.12,
    "lower case": 0.25,
    "upper case": 0.03,
    "ending": 0.25,
    "emoji": 0.18,
    "entities": 0.7,
    "byte order mark": 0.3,
}

_SPLITS = ((0.7, "train"), (0.8, "valid"), (1.0, "test"))


def generate_comments(n: int = 2000, seed: int = 7) -> pd.DataFrame:
    """Make up comments on five videos, about half of them spam; ``[n, 7]``.

    The slice ``short_link`` is made to be hard: its spam is worded like ham and only the link
    gives it away, and some ham has such a link too. A comment depends on its number and the seed
    only, so a larger ``n`` adds rows and changes none, and its split is hashed from its key.

    Examples
    --------
    >>> comments = generate_comments(200)
    >>> list(comments.columns) == list(COLUMNS)
    True
    >>> comments.equals(generate_comments(300).head(200))
    True
    """
    comments = pd.DataFrame([_comment(i, seed) for i in range(n)], columns=list(COLUMNS[:-1]))
    where = unit_interval(comments["comment_id"], seed)
    comments["split"] = [next(split for end, split in _SPLITS if u < end) for u in where]
    return _null_is_none(comments)


def _comment(i: int, seed: int) -> tuple[object, ...]:
    rng = random.Random(f"{seed}/{i}")
    video = int(rng.random() * len(_VIDEOS))
    words = _VIDEOS[video]
    kind, label, _ = _KINDS[bisect_right(_ENDS, rng.random() * _ENDS[-1])]
    text = _dress(_grow(f"{{{kind}}}", words, rng), rng)
    written = dt.datetime(2024, 1, 1) + dt.timedelta(seconds=int(rng.random() * 3e7))
    return (
        f"comment-{i:05d}",
        _grow("{author}", words, rng),
        None if _chance("no date", rng) else written.isoformat(),
        None if _chance("no text", rng) else text,
        label,
        video + 1,
    )


def _chance(what: str, rng: random.Random) -> bool:
    return rng.random() < _CHANCE[what]


def _pick(options: Sequence[str], rng: random.Random) -> str:
    # random() is the only draw that Python promises to keep the same in later versions.
    return options[int(rng.random() * len(options))]


def _grow(template: str, words: Mapping[str, str], rng: random.Random) -> str:
    """Replace each {name} by its word, else by a grown alternative of the grammar."""

    def grown(name: re.Match[str]) -> str:
        return words.get(name[1]) or _grow(_pick(_GRAMMAR[name[1]], rng), words, rng)

    return re.sub(r"{(\w+)}", grown, template)


def _dress(text: str, rng: random.Random) -> str:
    """Write a comment as people and the site do: case, emoji, entities, a stray BOM."""
    if _chance("lower case", rng):
        text = text.lower()
    elif _chance("upper case", rng):
        text = text.upper()
    if _chance("ending", rng):
        text += _pick(("!", "!!", "!!!!", " :)", "..."), rng)
    if _chance("emoji", rng):
        text += " " + _pick(_GRAMMAR["emoji"], rng) * (1 + int(rng.random() * 3))
    if _chance("entities", rng):
        lines = (html.escape(line).replace("&#x27;", "&#39;") for line in text.split("<br />"))
        text = "<br />".join(lines)
    if _chance("byte order mark", rng):
        text += "\ufeff"
    return text


def read_youtube_spam(folder: str | Path) -> pd.DataFrame:
    """Read the five files of the YouTube Spam Collection, split as in Snorkel's tutorial.

    Train is videos 1 to 4, valid and test (250 comments) are video 5. The three comment ids that
    are there twice get ``#2`` at their second place in the files, so that ``comment_id`` is
    unique and what stands before ``#`` is the site's id. Rows are in the tutorial's order.

    Source: T. C. Alberto, J. V. Lochter, T. A. Almeida, "TubeSpam: Comment Spam Filtering on
    YouTube", ICMLA 2015.

    Raises
    ------
    TableError
        If a file or a column isn't there.
    """
    from sklearn.model_selection import train_test_split

    files = [_read_video(Path(folder), i, name) for i, name in enumerate(YOUTUBE_FILES, start=1)]
    comments = pd.concat(files, ignore_index=True)
    ids = comments["comment_id"]
    repeat = ids.groupby(ids).cumcount()
    comments["comment_id"] = ids.where(repeat == 0, ids + "#" + (repeat + 1).astype(str))

    *train, last = (
        video.sample(frac=1, random_state=123).reset_index(drop=True)
        for _, video in comments.groupby("video")
    )
    valid, test = train_test_split(last, test_size=250, random_state=123, stratify=last["label"])
    parts = {"train": pd.concat(train), "valid": valid, "test": test}
    split = pd.concat([part.assign(split=name) for name, part in parts.items()], ignore_index=True)
    return _null_is_none(split)


def _read_video(folder: Path, video: int, name: str) -> pd.DataFrame:
    if not (folder / name).is_file():
        problem = f"{name} is not there" if folder.is_dir() else "there is no such folder"
        raise unreadable_folder(folder, problem)
    comments = pd.read_csv(folder / name)
    missing = [column for column in _YOUTUBE_COLUMNS if column not in comments]
    if missing:
        raise unreadable_folder(folder, f"{name} has no column {listed(missing)}")
    comments = comments.rename(columns=_YOUTUBE_COLUMNS)[list(_YOUTUBE_COLUMNS.values())]
    return comments.assign(video=video)


def unreadable_folder(folder: object, problem: str) -> TableError:
    """Return the error of a folder without the five files of comments."""
    return TableError(
        f"can't read the YouTube comments in {str(folder)!r}: {problem}; it must hold "
        f"{listed(YOUTUBE_FILES)}, each with the columns COMMENT_ID, AUTHOR, DATE, CONTENT "
        "and CLASS"
    )


def _null_is_none(comments: pd.DataFrame) -> pd.DataFrame:
    """Keep strings as Python objects, with None for null, whatever this pandas reads them as."""
    strings = comments.select_dtypes(exclude="number").astype(object)
    return comments.assign(**strings.where(strings.notna(), None))[list(COLUMNS)]
