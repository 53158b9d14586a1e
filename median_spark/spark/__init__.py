"""The only rooms that import pyspark: session, convert, medians, run, progress.

Spark distributes here and computes nothing: ``spark.range(n).mapInArrow(task)`` runs n tasks on any Spark from 3.5,
classic or Connect, and each task calls a pure function of the rooms below.
"""
