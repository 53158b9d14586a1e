# Databricks notebook source
# MAGIC %md
# MAGIC # Gene medians of a single-cell corpus
# MAGIC
# MAGIC This notebook reads count matrices from a folder, such as a Unity Catalog volume, and computes the non-zero
# MAGIC median of every gene's normalised expression: the factors that a Geneformer-style model needs when it is
# MAGIC pretrained.
# MAGIC
# MAGIC The package must be installed where Spark's Python workers run: as a library of the compute, as a dependency
# MAGIC in the notebook's environment on serverless compute, or by a cell `%pip install /Volumes/…/median_spark-….whl`
# MAGIC above this one. The notebook also runs outside Databricks, where `spark` is a session of yours: parameters are
# MAGIC then environment variables, `MEDIAN_SPARK_CORPUS` for `corpus` and so on.

# COMMAND ----------

# MAGIC %md
# MAGIC ## What to work on
# MAGIC
# MAGIC | parameter | meaning |
# MAGIC |---|---|
# MAGIC | `corpus` | folder that is searched for matrices at any depth; empty: a small demo corpus is written |
# MAGIC | `gene_table` | GTF or CSV, or several with commas between them; empty: the genes that the files hold |
# MAGIC | `out` | folder for the expression table and the result; name it again to resume or update a run |
# MAGIC | `unit_memory` | memory for the counts that a task reads at once |
# MAGIC | `window_memory` | memory for the values that a task holds at once; it needs as much again while it works |
# MAGIC
# MAGIC The defaults of the last two suit workers with 2 GB per core. Where workers have 1 GB, as on serverless compute,
# MAGIC take 200MB and 96MB. Medians do not depend on them.

# COMMAND ----------

import os

from median_spark import ConvertOptions, MedianOptions, ResultOptions


def parameter(name, default):
    """Return the value of a widget or a job's parameter on Databricks, of an environment variable elsewhere."""
    if "dbutils" in globals():
        dbutils.widgets.text(name, default)
        return dbutils.widgets.get(name)
    return os.environ.get(f"MEDIAN_SPARK_{name.upper()}", default)


corpus = parameter("corpus", "")
gene_table = parameter("gene_table", "")
out = parameter("out", "/Volumes/main/default/median_spark/run1")
unit_memory = parameter("unit_memory", "800MB")
window_memory = parameter("window_memory", "384MB")

# COMMAND ----------

from pathlib import Path

from median_spark import write_demo

if not corpus:
    corpus = f"{out}-demo-corpus"
    gene_table = f"{corpus}/gene_info_table.csv"
    if not Path(gene_table).exists():
        write_demo(corpus)

# COMMAND ----------

# MAGIC %md
# MAGIC ## A look at one matrix
# MAGIC
# MAGIC What the first matrix holds, and whether it can be used. Where it cannot, the error names the option that helps.

# COMMAND ----------

from median_spark import AttributeNames, ReadOptions, find_sources, inspect, read_gene_table

reading = ReadOptions(
    names=AttributeNames(),  # AttributeNames(n_counts="nCount_RNA") where a file calls it so
    cells=None,  # "n_genes >= 200 and tissue == 'lung'" takes these cells and not those that pass the filter
    gene_table=read_gene_table([path.strip() for path in gene_table.split(",")]) if gene_table else None,
)
sources = find_sources([corpus])
print(f"{len(sources):,} sources in {corpus}")
for field, finding in inspect(sources[0].file.path, reading):
    print(f"{field:<24}{finding}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Matrices to an expression table
# MAGIC
# MAGIC The table has a row for every value above zero: gene, cell, value. Run this cell again after an interruption, or
# MAGIC when files have been added: sources that are up to date are not converted again. A source that cannot be read
# MAGIC is reported, and the others are converted.

# COMMAND ----------

import sys

from median_spark import PlainLines, convert

progress = PlainLines(sys.stdout)
conversion = convert(
    corpus,
    f"{out}/expression",
    spark=spark,
    reading=reading,
    options=ConvertOptions(on_error="skip", unit_entries=unit_memory),
    progress=progress,
)
print(f"{len(conversion.converted):,} sources converted now, {len(conversion.unchanged):,} were up to date")
for failure in conversion.failures:
    print(f"left out: {failure.reason}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## The medians

# COMMAND ----------

from median_spark import medians

summary = medians(
    f"{out}/expression",
    f"{out}/medians",
    spark=spark,
    options=MedianOptions(window_rows=window_memory),
    outputs=ResultOptions(gene_table=reading.gene_table),
    overwrite=True,
    progress=progress,
)
print(f"{summary.genes_detected:,} of {summary.genes:,} genes detected in {summary.cells_passed:,} cells that pass")

# COMMAND ----------

# MAGIC %md
# MAGIC ## A look at them
# MAGIC
# MAGIC `median` is exact: what `numpy.median` returns for all of the gene's values. The quantiles are estimated from
# MAGIC t-digests.

# COMMAND ----------


def show(frame):
    """Show a frame as the platform does, else as text."""
    if "display" in globals():
        display(frame)
    else:
        frame.show(truncate=False)


table = spark.read.parquet(f"{out}/medians/medians.parquet")
show(table.orderBy("n_cells", ascending=False).select("gene", "median", "n_cells", "n_sources", "q05", "q95").limit(10))

# COMMAND ----------

# MAGIC %md
# MAGIC The expression table is a DataFrame like any other. `gene_medians` takes every DataFrame with a gene and a value
# MAGIC in each row: a table or view of Unity Catalog, or a selection such as the values of the first source.

# COMMAND ----------

from median_spark import gene_medians

values = spark.read.parquet(f"{out}/expression/values")
first = conversion.records[0].source
own = gene_medians(values.where(values["source"] == first))
show(own.orderBy("n_cells", ascending=False).select("gene", "median", "n_cells").limit(10))

# COMMAND ----------

# MAGIC %md
# MAGIC ## A check
# MAGIC
# MAGIC `verify` recomputes a random sample of genes from the Parquet files, and of rows from the matrices, with code
# MAGIC that is not used to compute them.

# COMMAND ----------

from median_spark import verify

checked = verify(f"{out}/expression", f"{out}/medians", inputs=True)
print(checked.text())
assert not checked.differences

# COMMAND ----------

# MAGIC %md
# MAGIC ## What a tokenizer loads, and the report

# COMMAND ----------

import pickle

for name in ("detected_gene_median_dict.pickle", "geneformer/gene_median_dictionary.pkl"):
    path = Path(f"{out}/medians/{name}")
    print(f"{path}: {len(pickle.loads(path.read_bytes())):,} entries")

# COMMAND ----------

page = Path(f"{out}/medians/report.html")
if "displayHTML" in globals():
    displayHTML(page.read_text())
else:
    print(f"report: {page}")
