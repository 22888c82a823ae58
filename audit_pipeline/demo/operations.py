"""The AWS operations that the synthetic company uses: names, requests and answers as CloudTrail writes them.

Belongs here: what one call looks like, and which role calls what how often. Not here: who calls, when, or the rest of the record.
Shapes follow the CloudTrail user guide ("CloudTrail record contents") and the API references of the services. In requests and
answers `$bucket` and the like stand for one of the company's own things, `$hex8` for random hexadecimal digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ACCOUNT = "123456789012"
REGIONS = ("eu-central-1", "us-east-1", "eu-west-1", "us-west-2")
GLOBAL_REGION = "us-east-1"
"""Where calls of services without a region (IAM, STS's global endpoint, sign-in) are recorded."""


@dataclass(frozen=True)
class Operation:
    """One API operation; `request`, `response` and `resources` are templates."""

    service: str
    name: str
    read_only: bool
    request: Any = None
    response: Any = None
    resources: tuple[tuple[str, str], ...] = ()
    data: bool = False
    """a data event (of objects or functions), not a management event"""
    everywhere: bool = False
    """a service without regions, recorded in `GLOBAL_REGION`"""
    error: tuple[str, str] | None = None
    """what it fails with, where the service has words of its own"""

    @property
    def source(self) -> str:
        """The `eventSource`."""
        return f"{self.service}.amazonaws.com"


def fill(template: Any, draw: Callable[[str], str]) -> Any:
    """The template with each `$word` replaced by `draw(word)`."""
    if isinstance(template, str):
        return re.sub(r"\$([a-z0-9]+)", lambda match: draw(match[1]), template)
    if isinstance(template, Mapping):
        return {key: fill(value, draw) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, draw) for value in template]
    return template


def _items(**entry: str) -> dict[str, Any]:
    return {"items": [entry]}


def _read(service: str, name: str, request: Any = None, **more: Any) -> Operation:
    return Operation(service, name, True, request, **more)


def _write(service: str, name: str, request: Any = None, response: Any = None, **more: Any) -> Operation:
    return Operation(service, name, False, request, response, **more)


_ARN = f"{ACCOUNT}:"
_UNAUTHORIZED = ("Client.UnauthorizedOperation", "You are not authorized to perform this operation.")
_LIMIT = ("Client.RequestLimitExceeded", "Request limit exceeded.")
_THROTTLED = ("ThrottlingException", "Rate exceeded")
_NO_KEY = ("NoSuchKey", "The specified key does not exist.")
_OBJECT = (
    ("AWS::S3::Object", "arn:aws:s3:::$bucket/$prefix/$hex8.json"),
    ("AWS::S3::Bucket", "arn:aws:s3:::$bucket"),
)
_KEY = (("AWS::KMS::Key", f"arn:aws:kms:$region:{_ARN}key/$key"),)
_FILTER = {"items": [{"name": "instance-state-name", "valueSet": {"items": [{"value": "running"}]}}]}

_ALL = (
    _read("ec2", "DescribeInstances", {"instancesSet": {}, "filterSet": _FILTER}, error=_UNAUTHORIZED),
    _read("ec2", "DescribeInstanceStatus", {"instancesSet": _items(instanceId="$instance"), "filterSet": {}, "includeAllInstances": True}, error=_LIMIT),
    _read("ec2", "DescribeVolumes", {"volumeSet": {}, "filterSet": {}}, error=_LIMIT),
    _read("ec2", "DescribeSnapshots", {"maxResults": 200, "ownersSet": _items(owner="self"), "snapshotSet": {}, "filterSet": {}}, error=_LIMIT),
    _read("ec2", "DescribeSecurityGroups", {"securityGroupSet": {}, "securityGroupIdSet": _items(groupId="$group"), "filterSet": {}}, error=_UNAUTHORIZED),
    _read("ec2", "DescribeSubnets", {"subnetSet": {}, "filterSet": {}}, error=_UNAUTHORIZED),
    _read("ec2", "DescribeNetworkInterfaces", {"networkInterfaceIdSet": {}, "filterSet": {}}, error=_UNAUTHORIZED),
    _write("ec2", "CreateSnapshot", {"volumeId": "$volume", "description": "nightly $volume"},
           {"requestId": "$uuid", "snapshotId": "snap-0$hex16", "volumeId": "$volume", "status": "pending", "encrypted": True}, error=_LIMIT),
    _write("ec2", "DeleteSnapshot", {"snapshotId": "snap-0$hex16"}, {"requestId": "$uuid", "_return": True},
           error=("Client.InvalidSnapshot.NotFound", "The snapshot 'snap-0$hex16' does not exist.")),
    _write("ec2", "CopySnapshot", {"sourceRegion": "$region", "sourceSnapshotId": "snap-0$hex16", "encrypted": True},
           {"requestId": "$uuid", "snapshotId": "snap-0$hex16"}, error=_LIMIT),
    _write("ec2", "RunInstances",
           {"instancesSet": {"items": [{"imageId": "ami-0$hex16", "minCount": 1, "maxCount": 1}]}, "instanceType": "m6i.large", "monitoring": {"enabled": False}},
           {"requestId": "$uuid", "instancesSet": {"items": [{"instanceId": "i-0$hex16", "instanceState": {"code": 0, "name": "pending"}}]}}, error=_UNAUTHORIZED),
    _write("ec2", "StopInstances", {"instancesSet": _items(instanceId="$instance"), "force": False},
           {"requestId": "$uuid", "instancesSet": {"items": [{"instanceId": "$instance", "currentState": {"code": 64, "name": "stopping"}}]}}, error=_UNAUTHORIZED),
    _write("ec2", "TerminateInstances", {"instancesSet": _items(instanceId="$instance")},
           {"requestId": "$uuid", "instancesSet": {"items": [{"instanceId": "$instance", "currentState": {"code": 32, "name": "shutting-down"}}]}}, error=_UNAUTHORIZED),
    _write("ec2", "CreateTags", {"resourcesSet": _items(resourceId="$instance"), "tagSet": {"items": [{"key": "team", "value": "$team"}]}},
           {"requestId": "$uuid", "_return": True}, error=_UNAUTHORIZED),
    _write("ec2", "AuthorizeSecurityGroupIngress",
           {"groupId": "$group", "ipPermissions": {"items": [{"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "ipRanges": {"items": [{"cidrIp": "10.20.0.0/16"}]}}]}},
           {"requestId": "$uuid", "_return": True}, error=_UNAUTHORIZED),
    _read("s3", "ListBuckets", {"Host": "s3.$region.amazonaws.com"}),
    _read("s3", "GetBucketAcl", {"bucketName": "$bucket", "Host": "$bucket.s3.$region.amazonaws.com", "acl": ""}, resources=_OBJECT[1:]),
    _read("s3", "GetBucketPolicy", {"bucketName": "$bucket", "Host": "$bucket.s3.$region.amazonaws.com", "policy": ""}, resources=_OBJECT[1:],
          error=("NoSuchBucketPolicy", "The bucket policy does not exist")),
    _read("s3", "GetBucketLocation", {"bucketName": "$bucket", "Host": "$bucket.s3.$region.amazonaws.com", "location": ""}, resources=_OBJECT[1:]),
    _read("s3", "GetObject", {"bucketName": "$bucket", "Host": "$bucket.s3.$region.amazonaws.com", "key": "$prefix/$hex8.json"}, resources=_OBJECT, data=True, error=_NO_KEY),
    _read("s3", "HeadObject", {"bucketName": "$bucket", "Host": "$bucket.s3.$region.amazonaws.com", "key": "$prefix/$hex8.json"}, resources=_OBJECT, data=True, error=_NO_KEY),
    _write("s3", "PutObject", {"bucketName": "$bucket", "Host": "$bucket.s3.$region.amazonaws.com", "key": "$prefix/$hex8.json", "x-amz-server-side-encryption": "aws:kms"},
           {"x-amz-server-side-encryption": "aws:kms"}, resources=_OBJECT, data=True),
    _write("s3", "DeleteObject", {"bucketName": "$bucket", "Host": "$bucket.s3.$region.amazonaws.com", "key": "$prefix/$hex8.json"}, resources=_OBJECT, data=True),
    _read("iam", "ListUsers", {"maxItems": 100}, everywhere=True),
    _read("iam", "ListRoles", {"maxItems": 100}, everywhere=True),
    _read("iam", "GetUser", {"userName": "$user"}, everywhere=True),
    _read("iam", "GetAccountSummary", everywhere=True),
    _read("iam", "ListAttachedRolePolicies", {"roleName": "$role"}, everywhere=True),
    _read("iam", "ListAccessKeys", {"userName": "$user"}, everywhere=True),
    _write("iam", "CreateAccessKey", {"userName": "$user"},
           {"accessKey": {"userName": "$user", "accessKeyId": "AKIA$upper16", "status": "Active", "createDate": "$created"}}, everywhere=True),
    _write("iam", "UpdateAccessKey", {"userName": "$user", "status": "Inactive", "accessKeyId": "AKIA$upper16"}, everywhere=True),
    _write("iam", "AddUserToGroup", {"userName": "$user", "groupName": "$team"}, everywhere=True),
    _write("iam", "AttachRolePolicy", {"roleName": "$role", "policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}, everywhere=True),
    _read("sts", "GetCallerIdentity"),
    _read("sts", "AssumeRole", {"roleArn": f"arn:aws:iam::{_ARN}role/$role", "roleSessionName": "$role-session", "durationSeconds": 3600},
          response={"credentials": {"accessKeyId": "ASIA$upper16", "expiration": "$created"},
                    "assumedRoleUser": {"assumedRoleId": "AROA$upper16:$role-session", "arn": f"arn:aws:sts::{_ARN}assumed-role/$role/$role-session"}},
          resources=(("AWS::IAM::Role", f"arn:aws:iam::{_ARN}role/$role"),)),
    _read("kms", "Decrypt", {"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": {"aws:s3:arn": "arn:aws:s3:::$bucket"}}, resources=_KEY),
    _read("kms", "GenerateDataKey", {"keyId": f"arn:aws:kms:$region:{_ARN}key/$key", "keySpec": "AES_256"}, resources=_KEY),
    _read("kms", "DescribeKey", {"keyId": "$key"}, resources=_KEY),
    _read("secretsmanager", "GetSecretValue", {"secretId": "$secret"}, error=_THROTTLED),
    _read("secretsmanager", "ListSecrets", {"maxResults": 100}),
    _read("ssm", "GetParameter", {"name": "/$team/$secret", "withDecryption": True},
          error=("ParameterNotFound", "Parameter /$team/$secret not found.")),
    _write("ssm", "StartSession", {"target": "$instance"}, {"sessionId": "$user-0$hex16", "streamUrl": "HIDDEN_DUE_TO_SECURITY_REASONS"}),
    _read("monitoring", "DescribeAlarms", {"maxRecords": 100}, error=_THROTTLED),
    _read("monitoring", "ListMetrics", {"namespace": "AWS/EC2"}, error=_THROTTLED),
    _read("logs", "DescribeLogGroups", {"limit": 50}, error=_THROTTLED),
    _write("logs", "CreateLogStream", {"logGroupName": "/aws/lambda/$function", "logStreamName": "$hex16"},
           error=("ResourceAlreadyExistsException", "The specified log stream already exists")),
    _read("logs", "StartQuery", {"logGroupNames": ["/aws/lambda/$function"], "queryString": "HIDDEN_DUE_TO_SECURITY_REASONS", "limit": 1000},
          response={"queryId": "$uuid"}),
    _read("lambda", "ListFunctions20150331", {"maxItems": 50}, error=("TooManyRequestsException", "Rate exceeded")),
    _read("lambda", "GetFunction20150331v2", {"functionName": "$function"}, error=("ResourceNotFoundException", "Function not found: $function")),
    _write("lambda", "UpdateFunctionCode20150331v2", {"functionName": "$function", "s3Bucket": "$bucket", "s3Key": "$prefix/$hex8.zip"},
           {"functionName": "$function", "runtime": "python3.11", "codeSize": 482113, "lastUpdateStatus": "InProgress"}),
    _read("ecr", "GetAuthorizationToken", error=_THROTTLED),
    _write("ecr", "PutImage", {"registryId": ACCOUNT, "repositoryName": "$function", "imageTag": "$hex8"},
           {"image": {"repositoryName": "$function", "registryId": ACCOUNT, "imageId": {"imageTag": "$hex8"}}}),
    _read("eks", "DescribeCluster", {"name": "$team-cluster"}),
    _read("cloudformation", "DescribeStacks", {"stackName": "$function"}, error=("ValidationException", "Stack with id $function does not exist")),
    _write("cloudformation", "CreateChangeSet", {"stackName": "$function", "changeSetName": "release-$hex8"}, {"id": f"arn:aws:cloudformation:$region:{_ARN}changeSet/release-$hex8/$uuid"}),
    _read("rds", "DescribeDBInstances", {"dBInstanceIdentifier": "$team-db"}),
    _read("dynamodb", "DescribeTable", {"tableName": "$function"}, error=("ResourceNotFoundException", "Requested resource not found: Table: $function not found")),
    _read("glue", "GetPartitions", {"databaseName": "$team", "tableName": "$prefix"}, error=("EntityNotFoundException", "Entity Not Found")),
    _read("glue", "GetTable", {"databaseName": "$team", "name": "$prefix"}),
    _write("athena", "StartQueryExecution", {"queryString": "HIDDEN_DUE_TO_SECURITY_REASONS", "workGroup": "$team"}, {"queryExecutionId": "$uuid"}),
    _read("athena", "GetQueryExecution", {"queryExecutionId": "$uuid"}),
    _read("athena", "GetQueryResults", {"queryExecutionId": "$uuid", "maxResults": 1000}),
    _read("ce", "GetCostAndUsage", {"granularity": "DAILY", "metrics": ["UnblendedCost"]}, everywhere=True),
    _read("cloudtrail", "DescribeTrails", {"trailNameList": [], "includeShadowTrails": True}),
    _read("cloudtrail", "LookupEvents", {"maxResults": 50}, error=_THROTTLED),
    _read("config", "DescribeConfigRules", {}),
    _write("autoscaling", "UpdateAutoScalingGroup", {"autoScalingGroupName": "$function", "desiredCapacity": 4}),
    _read("autoscaling", "DescribeAutoScalingGroups", {"maxRecords": 100}),
    _read("elasticloadbalancing", "DescribeLoadBalancers", {"pageSize": 100}, error=_THROTTLED),
    _read("elasticloadbalancing", "DescribeTargetHealth", {"targetGroupArn": f"arn:aws:elasticloadbalancing:$region:{_ARN}targetgroup/$function/0$hex16"}, error=_THROTTLED),
    _read("health", "DescribeEventAggregates", {"aggregateField": "eventTypeCategory"}),
)  # fmt: skip

CATALOGUE = {f"{operation.service}:{operation.name}": operation for operation in _ALL}

_CONSOLE: dict[str, float] = {
    "health:DescribeEventAggregates": 3,
    "monitoring:DescribeAlarms": 5,
    "ec2:DescribeInstances": 8,
}

ROLE_USES: dict[str, dict[str, float]] = {
    "engineer": _CONSOLE | {
        "ec2:DescribeSecurityGroups": 5, "ec2:DescribeSubnets": 3, "ec2:CreateTags": 1, "ec2:RunInstances": 0.4, "ec2:TerminateInstances": 0.3,
        "s3:ListBuckets": 4, "s3:GetObject": 10, "s3:PutObject": 3, "lambda:ListFunctions20150331": 5, "lambda:GetFunction20150331v2": 7,
        "lambda:UpdateFunctionCode20150331v2": 1, "logs:DescribeLogGroups": 7, "logs:StartQuery": 6, "cloudformation:DescribeStacks": 7,
        "cloudformation:CreateChangeSet": 1, "dynamodb:DescribeTable": 4, "eks:DescribeCluster": 4, "sts:GetCallerIdentity": 6,
        "secretsmanager:ListSecrets": 1, "kms:Decrypt": 5, "ssm:GetParameter": 3, "rds:DescribeDBInstances": 2,
    },
    "sre": _CONSOLE | {
        "ec2:DescribeInstanceStatus": 7, "ec2:DescribeNetworkInterfaces": 4, "ec2:DescribeSecurityGroups": 5, "ec2:StopInstances": 0.6,
        "ec2:RunInstances": 0.6, "ec2:TerminateInstances": 0.5, "ec2:AuthorizeSecurityGroupIngress": 0.3, "ssm:StartSession": 3, "logs:StartQuery": 9,
        "logs:DescribeLogGroups": 6, "eks:DescribeCluster": 8, "elasticloadbalancing:DescribeTargetHealth": 6, "autoscaling:DescribeAutoScalingGroups": 5,
        "autoscaling:UpdateAutoScalingGroup": 1, "cloudtrail:LookupEvents": 2, "sts:GetCallerIdentity": 5, "rds:DescribeDBInstances": 3,
        "secretsmanager:ListSecrets": 1, "kms:DescribeKey": 1,
    },
    "analyst": {
        "athena:StartQueryExecution": 8, "athena:GetQueryExecution": 14, "athena:GetQueryResults": 8, "glue:GetTable": 6, "glue:GetPartitions": 7,
        "s3:GetObject": 12, "s3:ListBuckets": 3, "kms:Decrypt": 6, "health:DescribeEventAggregates": 1,
    },
    "finance": {"ce:GetCostAndUsage": 10, "s3:GetObject": 5, "s3:ListBuckets": 2, "athena:StartQueryExecution": 1, "athena:GetQueryResults": 1,
                "health:DescribeEventAggregates": 2},
    "support": _CONSOLE | {"s3:GetObject": 8, "s3:HeadObject": 5, "logs:StartQuery": 8, "logs:DescribeLogGroups": 5, "rds:DescribeDBInstances": 2,
                           "lambda:ListFunctions20150331": 2},
    "admin": _CONSOLE | {
        "iam:ListUsers": 7, "iam:ListRoles": 5, "iam:GetUser": 6, "iam:ListAccessKeys": 5, "iam:ListAttachedRolePolicies": 4, "iam:CreateAccessKey": 0.4,
        "iam:UpdateAccessKey": 0.4, "iam:AddUserToGroup": 0.6, "iam:AttachRolePolicy": 0.3, "cloudtrail:DescribeTrails": 2, "cloudtrail:LookupEvents": 4,
        "config:DescribeConfigRules": 3, "s3:GetBucketPolicy": 3, "s3:GetBucketAcl": 2, "kms:DescribeKey": 2,
    },
    "ci": {"ecr:GetAuthorizationToken": 8, "ecr:PutImage": 4, "sts:AssumeRole": 6, "cloudformation:DescribeStacks": 9, "cloudformation:CreateChangeSet": 2,
           "lambda:UpdateFunctionCode20150331v2": 3, "lambda:GetFunction20150331v2": 5, "s3:PutObject": 6, "s3:GetObject": 5, "ssm:GetParameter": 5},
    "backup": {"ec2:DescribeVolumes": 8, "ec2:CreateSnapshot": 8, "ec2:DescribeSnapshots": 9, "ec2:DeleteSnapshot": 7, "ec2:CopySnapshot": 3,
               "kms:GenerateDataKey": 5, "s3:PutObject": 6},
    "web": {"s3:GetObject": 24, "s3:PutObject": 5, "kms:Decrypt": 12, "secretsmanager:GetSecretValue": 6, "ssm:GetParameter": 5, "logs:CreateLogStream": 3,
            "dynamodb:DescribeTable": 1},
    "etl": {"s3:GetObject": 14, "s3:PutObject": 9, "s3:DeleteObject": 2, "glue:GetPartitions": 8, "glue:GetTable": 5, "athena:StartQueryExecution": 3,
            "athena:GetQueryExecution": 7, "kms:GenerateDataKey": 5, "kms:Decrypt": 6},
    "monitoring": {"ec2:DescribeInstances": 9, "ec2:DescribeInstanceStatus": 8, "monitoring:DescribeAlarms": 9, "monitoring:ListMetrics": 8,
                   "elasticloadbalancing:DescribeLoadBalancers": 5, "elasticloadbalancing:DescribeTargetHealth": 7, "rds:DescribeDBInstances": 4,
                   "autoscaling:DescribeAutoScalingGroups": 4},
    "scanner": {"s3:ListBuckets": 3, "s3:GetBucketAcl": 7, "s3:GetBucketPolicy": 7, "s3:GetBucketLocation": 6, "iam:GetAccountSummary": 2, "iam:ListUsers": 2,
                "iam:ListAttachedRolePolicies": 4, "ec2:DescribeSecurityGroups": 6, "config:DescribeConfigRules": 3, "cloudtrail:DescribeTrails": 2},
    "aws": {"sts:AssumeRole": 10, "s3:GetBucketAcl": 5, "kms:GenerateDataKey": 5},
    "root": {"ce:GetCostAndUsage": 3, "iam:GetAccountSummary": 3, "health:DescribeEventAggregates": 1},
}  # fmt: skip
"""Role to operation to weight; the weights need not sum to anything."""
