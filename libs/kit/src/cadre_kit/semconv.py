"""Names of span attributes: OpenTelemetry's GenAI conventions (text of v1.41.1), MLflow's, and our own.

Cost has no name in the conventions; MLflow's is set from our ledger, so that both show the same figure.
"""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_SEED = "gen_ai.request.seed"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
OUTPUT_TYPE = "gen_ai.output.type"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
WORKFLOW_NAME = "gen_ai.workflow.name"
TOOL_NAME = "gen_ai.tool.name"
DATA_SOURCE = "gen_ai.data_source.id"
ERROR_TYPE = "error.type"

MLFLOW_SPAN_TYPE = "mlflow.spanType"
MLFLOW_SPAN_INPUTS = "mlflow.spanInputs"
MLFLOW_SPAN_OUTPUTS = "mlflow.spanOutputs"
MLFLOW_COST = "mlflow.llm.cost"

RUN_ID = "cadre.run.id"
NODE_ID = "cadre.node.id"
NODE_KIND = "cadre.node.kind"
NODE_ITERATION = "cadre.node.iteration"
NODE_ATTEMPT = "cadre.node.attempt"
WORKFLOW_VERSION = "cadre.workflow.version"
COST_USD = "cadre.cost_usd"
