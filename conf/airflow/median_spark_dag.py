"""An Airflow DAG: medians of a corpus once a month, then a check of the result against its expression table.

Copy it to Airflow's folder of DAGs. It takes the connection ``spark_default``, whose master may be YARN, a standalone
cluster or Kubernetes. Parameters are those of docs/airflow.md.
"""

from datetime import datetime, timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param

OUT = "{{ params.out }}"

with DAG(
    dag_id="median_spark",
    description="Per-gene non-zero medians of a single-cell corpus",
    schedule="@monthly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # a folder takes one run at a time
    params={
        "corpus": Param("s3://bucket/corpus", type="string"),
        "gene_table": Param("s3://bucket/gene_info_table.csv", type="string"),
        "out": Param("s3://bucket/run1", type="string"),
        "home": Param("/opt/median_spark", type="string", description="folder of the unpacked environment"),
    },
    # A second try resumes: finished sources are kept. Exit status 1, of --on-error skip, is a failure of the task.
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["median_spark"],
) as dag:
    medians = SparkSubmitOperator(
        task_id="medians",
        conn_id="spark_default",
        application="{{ params.home }}/jobs/run.py",
        application_args=["{{ params.corpus }}", "--gene-table", "{{ params.gene_table }}", "--out", OUT],
        properties_file="{{ params.home }}/conf/spark-cluster.conf",
        conf={"spark.pyspark.python": "{{ params.home }}/bin/python"},
        name="median_spark {{ ds }}",
        execution_timeout=timedelta(days=2),
    )
    verify = BashOperator(
        task_id="verify",
        bash_command=(
            "'{{ params.home }}/bin/python' -m median_spark verify "
            "'{{ params.out }}/expression' '{{ params.out }}/medians' --genes 200"
        ),
    )
    medians >> verify
