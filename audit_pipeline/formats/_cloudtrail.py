"""The OCSF columns of a CloudTrail record, as SQL over `r` (the transformed record); used by `cloudtrail`.

Belongs here: classes, identities, outcome, targets. Not here: framing, keys, times. Sources: CloudTrail record contents and the
userIdentity element (docs.aws.amazon.com/awscloudtrail/latest/userguide, event reference), the OCSF project's published CloudTrail
mapping dossiers (github.com/ocsf/examples, mappings/markdown/AWS). JSON text is read again only inside a CASE, for the few
operations that need it: this is the hot path.
"""

from __future__ import annotations

_T, _J, _B = "VARCHAR", "JSON", "BOOLEAN"
STRUCTURE: dict[str, object] = {
    "eventVersion": _T, "eventSource": _T, "eventName": _T, "eventType": _T, "eventCategory": _T, "eventID": _T,
    "awsRegion": _T, "recipientAccountId": _T, "sourceIPAddress": _T, "userAgent": _T, "vpcEndpointId": _T,
    "errorCode": _T, "errorMessage": _T, "requestID": _T, "apiVersion": _T, "readOnly": _B, "sessionCredentialFromConsole": _T,
    "userIdentity": {
        "type": _T, "principalId": _T, "arn": _T, "accountId": _T, "accessKeyId": _T, "userName": _T, "invokedBy": _T, "identityProvider": _T,
        "sessionContext": {
            "attributes": {"mfaAuthenticated": _T}, "sessionIssuer": {"arn": _T, "userName": _T}, "sourceIdentity": _T, "ec2RoleDelivery": _T,
            "webIdFederationData": {"federatedProvider": _T},
        },
        "onBehalfOf": {"userId": _T},
    },
    "resources": [{"ARN": _T, "type": _T}],
    "tlsDetails": {"clientProvidedHostHeader": _T},
    "requestParameters": _J,
    "insightDetails": {"state": _T, "eventSource": _T, "eventName": _T, "insightType": _T},
    "awsAccountId": _T, "digestS3Object": _T,
}  # fmt: skip

# Class and activity by operation: type_uid = class * 100 + activity. What is not here is API Activity, by verb.
_IAM = {
    "CreateUser": 300101, "CreateRole": 300101, "CreateServiceLinkedRole": 300101, "DeleteUser": 300106, "DeleteRole": 300106, "DeleteServiceLinkedRole": 300106,
    "CreateLoginProfile": 300102, "DeleteLoginProfile": 300105, "UpdateLoginProfile": 300104, "ChangePassword": 300103,
    "AttachUserPolicy": 300107, "PutUserPolicy": 300107, "PutUserPermissionsBoundary": 300107, "AttachRolePolicy": 300107, "PutRolePolicy": 300107,
    "DetachUserPolicy": 300108, "DeleteUserPolicy": 300108, "DeleteUserPermissionsBoundary": 300108, "DetachRolePolicy": 300108, "DeleteRolePolicy": 300108,
    "PutRolePermissionsBoundary": 300107, "DeleteRolePermissionsBoundary": 300108,
    "EnableMFADevice": 300110, "DeactivateMFADevice": 300111,
    **dict.fromkeys(
        ["UpdateUser", "UpdateRole", "UpdateAssumeRolePolicy", "CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey", "CreateVirtualMFADevice", "DeleteVirtualMFADevice", "ResyncMFADevice", "UploadSSHPublicKey", "UpdateSSHPublicKey", "DeleteSSHPublicKey", "UploadSigningCertificate", "UpdateSigningCertificate", "DeleteSigningCertificate", "CreateServiceSpecificCredential", "UpdateServiceSpecificCredential", "DeleteServiceSpecificCredential", "ResetServiceSpecificCredential"],
        300199,
    ),
    "CreateGroup": 300606, "DeleteGroup": 300605, "AddUserToGroup": 300603, "RemoveUserFromGroup": 300604, "UpdateGroup": 300699,
    "AttachGroupPolicy": 300601, "PutGroupPolicy": 300601, "DetachGroupPolicy": 300602, "DeleteGroupPolicy": 300602,
}  # fmt: skip
_STS = dict.fromkeys(
    ["AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "AssumeRoot", "GetSessionToken", "GetFederationToken", "GetWebIdentityToken"], 300203
)  # fmt: skip
_SIGN_IN = {
    "ConsoleLogin": 300201, "UserAuthentication": 300201, "Authenticate": 300201, "Logout": 300202, "GetSigninToken": 300203, "Federate": 300203,
    "GetRoleCredentials": 300203, "CreateToken": 300203, "CreateTokenWithIAM": 300203, "RenewRole": 300205, "CredentialChallenge": 300206,
    "CredentialVerification": 300206, "CheckMfa": 300206, "SwitchRole": 300207, "ExitRole": 300207,
    "PasswordRecoveryRequested": 300104, "PasswordRecoveryCompleted": 300104, "PasswordUpdated": 300103,
}  # fmt: skip
_DIRECTORY = {
    "CreateUser": 300101, "DeleteUser": 300106, "UpdateUser": 300199, "EnableUser": 300102, "DisableUser": 300105, "UpdatePassword": 300104,
    "CreateGroup": 300606, "DeleteGroup": 300605, "UpdateGroup": 300699, "AddMemberToGroup": 300603, "RemoveMemberFromGroup": 300604,
    "CreateGroupMembership": 300603, "DeleteGroupMembership": 300604,
}  # fmt: skip
_BY_SERVICE = {
    ("iam.amazonaws.com",): _IAM,
    ("sts.amazonaws.com",): _STS,
    ("signin.amazonaws.com", "sso.amazonaws.com", "signin-oauth.amazonaws.com", "sso-oauth.amazonaws.com"): _SIGN_IN,
    ("sso-directory.amazonaws.com", "identitystore.amazonaws.com"): _DIRECTORY,
}
_READ = "Get|List|Describe|Head|Lookup|BatchGet|Search|Query|Scan|Select|View|Check|Test|Validate|Preview|Estimate|Simulate|Download|Decrypt|Verify|Read|Poll|Receive|Discover|Detect|Count|Retrieve|Resolve"
_CREATE = "Create|Run|Allocate|Add|Register|Import|Copy|Generate|Launch|Request|Purchase|Provision|Restore|Clone|Issue|Upload|Publish|Subscribe|PutObject$|PutItem|PutRecord|PutLogEvents|PutMetricData|BatchWrite|InitiateMultipart|CompleteMultipart"
_DELETE = "Delete|Remove|Terminate|Deregister|Purge|Release|Revoke|Destroy|BatchDelete|Unsubscribe"
_UPDATE = "Update|Modify|Put|Set|Change|Enable|Disable|Attach|Detach|Associate|Disassociate|Start|Stop|Reboot|Tag|Untag|Authorize|Replace|Reset|Rotate|Renew|Move|Merge|Accept|Reject|Approve|Leave|Join|Complete|Resume|Suspend|Activate|Deactivate|Apply|Assign|Unassign|Upgrade|Rename|Extend|Share|Unshare|Promote|Cancel|Abort"

_USER = "r.userIdentity"
_SESSION = f"{_USER}.sessionContext"
_ISSUER = f"{_SESSION}.sessionIssuer"
_H = "[0-9A-Fa-f]{1,4}"
_V4 = r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_V6 = f"(?:{_H}:){{7}}{_H}|(?:{_H}(?::{_H}){{0,6}})?::(?:{_H}(?::{_H}){{0,6}})?|(?:{_H}(?::{_H}){{0,4}})?::(?:{_H}:){{0,4}}{_V4}"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _text(expression: str) -> str:
    """An empty text says nothing."""
    return f"nullif({expression}, '')"


def _first(*expressions: str) -> str:
    return expressions[0] if len(expressions) == 1 else f"coalesce({', '.join(expressions)})"


def _parameter(*names: str) -> str:
    """The first of these request parameters that says something."""
    return _first(*(_text(f"json_extract_string(r.requestParameters, {_quote('$.' + name)})") for name in names))


def _elsewhere(*paths: str) -> str:
    """The same for what only few operations need: read from the whole record, so that no other record pays for a copy of it."""
    return _first(*(_text(f"json_extract_string(doc, {_quote('$.' + path)})") for path in paths))


def _type_uid() -> str:
    """Class and activity in one number; the cast makes it one shared expression for the columns that are taken from it."""
    branches = []
    for services, operations in _BY_SERVICE.items():
        by_number: dict[int, list[str]] = {}
        for operation, number in operations.items():
            by_number.setdefault(number, []).append(_quote(operation))
        cases = " ".join(
            f"WHEN r.eventName IN ({', '.join(names)}) THEN {number}" for number, names in by_number.items()
        )
        branches.append(f"WHEN r.eventSource IN ({', '.join(map(_quote, services))}) THEN CASE {cases} END")
    verbs = " ".join(
        f"WHEN regexp_matches(r.eventName, '^(?:{verbs})') THEN {number}"
        for verbs, number in ((_DELETE, 600304), (_CREATE, 600301), (_UPDATE, 600303), (_READ, 600302))
    )
    insight = "CASE r.insightDetails.state WHEN 'Start' THEN 200401 WHEN 'End' THEN 200403 ELSE 200499 END"
    return (
        f"CAST(coalesce(CASE {' '.join(branches)} END, CASE WHEN r.insightDetails IS NOT NULL THEN {insight} "
        f"WHEN r.eventName IS NOT NULL THEN CASE WHEN r.readOnly THEN 600302 {verbs} ELSE 600399 END "
        "WHEN r.digestS3Object IS NOT NULL THEN 100899 ELSE 0 END) AS BIGINT)"
    )


_ARN_NAME = f"split_part({_USER}.arn, '/', 2)"
_ROLE_SESSION = _text(f"split_part({_USER}.principalId, ':', 2)")
_SIGNS_IN = "r.eventSource IN ('signin.amazonaws.com', 'sso.amazonaws.com', 'signin-oauth.amazonaws.com', 'sso-oauth.amazonaws.com')"
_ACTOR_NAME = (
    f"coalesce({_text(_USER + '.userName')}, {_text(_ISSUER + '.userName')}, CASE {_USER}.type WHEN 'Root' THEN 'root' "
    f"WHEN 'AWSService' THEN {_USER}.invokedBy WHEN 'AssumedRole' THEN {_text(_ARN_NAME)} WHEN 'FederatedUser' THEN {_text(_ARN_NAME)} "
    f"WHEN 'IAMUser' THEN {_text(f'''regexp_extract({_USER}.arn, ':user/(?:.*/)?([^/]+)$', 1)''')} END, "
    f"CASE WHEN {_SIGNS_IN} THEN {_elsewhere('additionalEventData.UserName')} END)"
)
_ACTOR_UID = (
    f"coalesce({_text(_USER + '.arn')}, {_text(_USER + '.onBehalfOf.userId')}, {_text(_USER + '.principalId')})"
)
_CONSOLE = "(r.sessionCredentialFromConsole = 'true' OR r.eventType IN ('AwsConsoleSignIn', 'AwsConsoleAction'))"
# Who stands behind a role: IAM Identity Center, SAML and the console name the session after the person; a source identity cannot
# be changed by whoever assumes the role next. https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html
_PERSON = f"({_SESSION}.sourceIdentity <> '' OR starts_with({_ISSUER}.userName, 'AWSReservedSSO_') OR starts_with({_ARN_NAME}, 'AWSReservedSSO_') OR contains({_ROLE_SESSION}, '@') OR {_CONSOLE})"
_MACHINE = f"({_SESSION}.ec2RoleDelivery <> '' OR contains({_ISSUER}.arn, ':role/aws-service-role/') OR regexp_full_match({_ROLE_SESSION}, 'm?i-[0-9a-f]{{8,17}}'))"
_WORKLOAD = f"(contains({_USER}.identityProvider, 'oidc.eks.') OR contains({_USER}.identityProvider, 'token.actions.githubusercontent.com') OR starts_with({_USER}.userName, 'system:serviceaccount:'))"
_X_ACTOR = (
    f"CASE {_USER}.type WHEN 'AWSService' THEN coalesce({_text(_USER + '.invokedBy')}, {_text('r.sourceIPAddress')}) "
    f"WHEN 'AssumedRole' THEN coalesce(CASE WHEN {_PERSON} THEN coalesce({_text(_SESSION + '.sourceIdentity')}, {_ROLE_SESSION}) END, {_ACTOR_NAME}, {_ACTOR_UID}) "
    f"WHEN 'Root' THEN 'root@' || coalesce({_USER}.accountId, r.recipientAccountId, 'unknown') "
    f"WHEN 'AWSAccount' THEN coalesce({_ACTOR_NAME}, {_ROLE_SESSION}, {_ACTOR_UID}, {_text(_USER + '.accountId')}) "
    f"ELSE coalesce({_ACTOR_NAME}, {_ACTOR_UID}, {_text(_USER + '.invokedBy')}) END"
)
_X_ACTOR_KIND = (
    f"CASE {_USER}.type WHEN 'AWSService' THEN 'service' WHEN 'AssumedRole' THEN CASE WHEN {_MACHINE} THEN 'service' WHEN {_PERSON} THEN 'human' ELSE 'unknown' END "
    f"WHEN 'IAMUser' THEN CASE WHEN {_CONSOLE} OR lower({_SESSION}.attributes.mfaAuthenticated) = 'true' THEN 'human' ELSE 'unknown' END "
    "WHEN 'Root' THEN 'human' WHEN 'SAMLUser' THEN 'human' WHEN 'IdentityCenterUser' THEN 'human' "
    f"WHEN 'WebIdentityUser' THEN CASE WHEN {_WORKLOAD} THEN 'service' ELSE 'unknown' END "
    f"ELSE CASE WHEN {_USER}.userName <> '' THEN CASE WHEN {_SIGNS_IN} THEN 'human' ELSE 'unknown' END WHEN {_USER}.invokedBy <> '' THEN 'service' ELSE 'unknown' END END"
)

_STS_ROLE = "r.eventSource = 'sts.amazonaws.com' AND starts_with(r.eventName, 'AssumeRole')"
_DIRECTORIES = "r.eventSource IN ('sso-directory.amazonaws.com', 'identitystore.amazonaws.com')"
# IAM takes the caller where these name no user: https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateAccessKey.html
_SELF = "r.errorCode IS NULL AND r.eventName IN ('ChangePassword', 'CreateAccessKey', 'UpdateAccessKey', 'DeleteAccessKey', 'UploadSigningCertificate', 'UpdateSigningCertificate', 'DeleteSigningCertificate', 'CreateServiceSpecificCredential', 'UpdateServiceSpecificCredential', 'DeleteServiceSpecificCredential', 'ResetServiceSpecificCredential')"
_USER_NAME = (
    f"CASE WHEN {_SIGNS_IN} THEN {_ACTOR_NAME} "
    f"WHEN {_STS_ROLE} THEN {_text(f'''regexp_extract({_parameter('roleArn')}, '([^/]+)$', 1)''')} "
    f"WHEN r.eventSource = 'sts.amazonaws.com' THEN CASE r.eventName WHEN 'GetFederationToken' THEN {_parameter('name')} WHEN 'GetSessionToken' THEN {_ACTOR_NAME} END "
    f"WHEN r.eventSource = 'iam.amazonaws.com' THEN coalesce({_parameter('userName', 'roleName')}, CASE WHEN {_SELF} THEN {_ACTOR_NAME} END) "
    f"WHEN contains(r.requestParameters, '\"userName\"') THEN {_parameter('userName')} END"
)
_USER_UID = (
    f"CASE WHEN {_SIGNS_IN} THEN {_ACTOR_UID} WHEN {_STS_ROLE} THEN {_parameter('roleArn')} "
    "WHEN r.eventSource = 'iam.amazonaws.com' AND r.eventName IN ('CreateUser', 'CreateRole') THEN "
    f"{_elsewhere('responseElements.user.arn', 'responseElements.role.arn')} WHEN {_DIRECTORIES} THEN {_parameter('userId', 'memberId.userId', 'member.memberId')} END"
)
_USER_TYPE = (
    f"CASE WHEN {_SIGNS_IN} THEN {_USER}.type WHEN {_STS_ROLE} THEN 'Role' "
    f"WHEN r.eventSource = 'iam.amazonaws.com' AND contains(r.eventName, 'Role') THEN 'Role' END"
)
_IN_GROUP = f"contains(r.eventName, 'Group') AND (r.eventSource = 'iam.amazonaws.com' OR {_DIRECTORIES})"
_NAMED = [
    "bucketName", "instanceId", "instancesSet.items[0].instanceId", "functionName", "trailName", "logGroupName", "tableName", "dBInstanceIdentifier",
    "dBSnapshotIdentifier", "groupId", "snapshotId", "imageId", "volumeId", "vpcId", "keyId", "keyName", "secretId", "queueUrl", "topicArn", "clusterName",
    "stackName", "policyArn", "resourceArn", "detectorId", "roleName", "groupName", "name",
]  # fmt: skip
_RESOURCE_NAME = (
    "CASE WHEN NOT r.readOnly AND r.resources IS NULL AND r.requestParameters IS NOT NULL THEN "
    f"list_any_value(json_extract_string(r.requestParameters, [{', '.join(_quote('$.' + name) for name in _NAMED)}])) END"
)

_REFUSED = "regexp_matches(r.errorCode, '(?i)denied|unauthori[sz]ed|forbidden|notauthorized')"
# CASE, not AND: a projection evaluates both sides of AND for every row.
_SIGN_IN_FAILED = f"CASE WHEN {_SIGNS_IN} THEN contains(concat_ws(' ', json_extract(doc, '$.responseElements'), json_extract(doc, '$.serviceEventDetails')), '\"Failure\"') END"
_FAILED = f"{_SIGNS_IN} AND coalesce(contains(json_extract(doc, '$.responseElements'), '\"Failure\"'), false) OR {_SIGNS_IN} AND coalesce(contains(json_extract(doc, '$.serviceEventDetails'), '\"Failure\"'), false)"
_FAILED = f"(r.errorCode <> '' OR r.errorMessage <> '' OR {_SIGN_IN_FAILED})"


_IS_IP = f"coalesce(CASE WHEN contains(r.sourceIPAddress, ':') THEN regexp_full_match(r.sourceIPAddress, '{_V6}') ELSE regexp_full_match(r.sourceIPAddress, '{_V4}') END, false)"


def columns() -> dict[str, str]:
    """Event column to SQL expression; `time` is not among them, it is the index's."""
    kind = _type_uid()
    return {
        "type_uid": kind,
        "class_uid": f"{kind} // 100",
        "category_uid": f"{kind} // 100000",
        "activity_id": f"{kind} % 100",
        "severity_id": f"CASE WHEN {_REFUSED} OR ({_SIGNS_IN} AND {_FAILED}) THEN 2 WHEN r.insightDetails IS NOT NULL THEN 2 ELSE 1 END",
        "status_id": f"CASE WHEN {_FAILED} THEN 2 WHEN r.eventName IS NULL THEN 0 ELSE 1 END",
        "status_code": _text("r.errorCode"),
        "status_detail": _text("r.errorMessage"),
        "metadata_uid": "coalesce(r.eventID, r.digestS3Object)",
        "metadata_event_code": "r.eventType",
        "metadata_product_name": "'CloudTrail'",
        "metadata_product_vendor_name": "'AWS'",
        "metadata_log_name": "coalesce(r.eventCategory, CASE WHEN r.digestS3Object IS NOT NULL THEN 'Digest' END)",
        "metadata_log_version": "r.eventVersion",
        "actor_user_name": _ACTOR_NAME,
        "actor_user_uid": _ACTOR_UID,
        "actor_user_uid_alt": _text(f"{_USER}.principalId"),
        "actor_user_type": f"{_USER}.type",
        "actor_user_account_uid": _text(f"{_USER}.accountId"),
        "actor_user_credential_uid": _text(f"{_USER}.accessKeyId"),
        "actor_session_uid": _ROLE_SESSION,
        "actor_session_issuer": _text(f"{_ISSUER}.arn"),
        "actor_session_is_mfa": f"CASE lower({_SESSION}.attributes.mfaAuthenticated) WHEN 'true' THEN true WHEN 'false' THEN false END",
        "actor_invoked_by": _text(f"{_USER}.invokedBy"),
        "actor_idp_name": f"coalesce({_text(_USER + '.identityProvider')}, {_text(_SESSION + '.webIdFederationData.federatedProvider')})",
        "user_name": _USER_NAME,
        "user_uid": _USER_UID,
        "user_type": _USER_TYPE,
        "group_name": f"CASE WHEN {_IN_GROUP} THEN {_parameter('groupName', 'displayName')} END",
        "group_uid": f"CASE WHEN {_IN_GROUP} THEN coalesce({_parameter('groupId')}, {_elsewhere('responseElements.group.groupId')}) END",
        "src_endpoint_ip": f"CASE WHEN {_IS_IP} THEN r.sourceIPAddress END",
        "src_endpoint_hostname": f"CASE WHEN NOT {_IS_IP} THEN {_text('r.sourceIPAddress')} END",
        "src_endpoint_uid": "r.vpcEndpointId",
        "dst_endpoint_hostname": "r.tlsDetails.clientProvidedHostHeader",
        "http_request_user_agent": "r.userAgent",
        "http_request_uid": "r.requestID",
        "api_operation": "coalesce(r.eventName, r.insightDetails.eventName)",
        "api_service_name": "coalesce(r.eventSource, r.insightDetails.eventSource)",
        "api_request_uid": "r.requestID",
        "api_response_error": _text("r.errorCode"),
        "api_response_error_message": _text("r.errorMessage"),
        "api_version": "r.apiVersion",
        "cloud_provider": "'AWS'",
        "cloud_region": "r.awsRegion",
        "cloud_account_uid": f"coalesce(r.recipientAccountId, {_USER}.accountId, r.awsAccountId)",
        "resource_uid": "r.resources[1].ARN",
        "resource_type": "r.resources[1].type",
        "resource_name": _RESOURCE_NAME,
        "is_mfa": f"CASE WHEN {_SIGNS_IN} THEN CASE {_elsewhere('additionalEventData.MFAUsed')} WHEN 'Yes' THEN true WHEN 'No' THEN false END END",
        "finding_info_uid": "CASE WHEN r.insightDetails IS NOT NULL THEN r.eventID END",
        "finding_info_title": "r.insightDetails.insightType",
        "x_read_only": "r.readOnly",
        "x_actor": _X_ACTOR,
        "x_actor_kind": _X_ACTOR_KIND,
    }
