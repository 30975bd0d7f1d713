"""Results of tests as proto messages."""

from cadre.executor.v1 import workflows_pb2
from cadre_executor.domain.testers import CaseFailure, CaseResult
from cadre_kit.documents import to_json

__all__ = ["test_result_message"]


def test_result_message(result: CaseResult) -> workflows_pb2.TestResult:
    """How a test ended."""
    return workflows_pb2.TestResult(
        name=result.name,
        passed=result.passed,
        duration_ms=result.duration_ms,
        failures=[_failure(failure) for failure in result.failures],
        outputs=None if result.state is None else to_json(result.state),
    )


def _failure(failure: CaseFailure) -> workflows_pb2.TestFailure:
    return workflows_pb2.TestFailure(
        code=failure.code,
        message=failure.message,
        resolution=failure.resolution,
        node=failure.node,
        path=failure.path,
        line=failure.line,
        column=failure.column,
    )
