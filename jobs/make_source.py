"""Make the spam project's source table: the embedded data set, or the YouTube Spam Collection.

Without --data, about 2,000 comments are generated, the same each time. With --data FOLDER the
five CSV files of the collection are read and split as in Snorkel's slicing tutorial.

  python -m jobs.make_source --project conf/spam.yaml
  python -m jobs.make_source --project conf/youtube_spam.yaml --data path/to/youtube-spam
"""

from __future__ import annotations

import argparse
import sys

from engine.project import cli


@cli.job(
    __doc__,
    data={"metavar": "FOLDER", "help": "the folder of the five CSV files"},
)
def main(args: argparse.Namespace) -> None:
    """Write the source table, unless it is there already."""
    from engine.project.demo_data import generate_comments, read_youtube_spam
    from engine.storage import tables
    from engine.storage.digest import digest

    project = cli.project_of(args)
    comments = read_youtube_spam(args.data) if args.data else generate_comments()
    spark = cli.session(project, "make_source")
    place = project.source.table
    facts = {"data": args.data or "generated", "content": digest(comments.to_json(orient="split"))}
    stored = tables.find(spark, place)
    if stored is not None and tables.same(stored.facts, facts):
        print(tables.unchanged(stored))
        return
    print(tables.overwrite(spark.createDataFrame(comments), place, facts=facts))


if __name__ == "__main__":
    sys.exit(main())
