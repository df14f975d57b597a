"""C3: whatever is asked of the methods of profiles by an account that is there, the answer is one that the contract knows."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres import Database
from ani.accounts.v1 import profile_pb2
from ani.accounts.v1 import profiles_service_pb2 as pb
from domain.kernel import new_id
from tests.accounts.households import Family
from tests.accounts.people import People
from tests.builders import NOON
from tests.media.playing import kept_episode
from tests.pipeline.messages import Messages
from tests.pipeline.test_requests import DOCUMENTED
from tests.serving import Served

METHODS = list(pb.DESCRIPTOR.services_by_name["ProfilesService"].methods)
IDS = [new_id(at=NOON) for _ in range(4)]
WORDS = [
    *IDS,
    "1234",
    "4321",
    "Asia/Tokyo",
    "ja",
    "JP",
    "fox",
    "name",
    "pin",
    "maturity_limit",
    "kids",
    "allowed_hours",
    "time_zone",
]
messages = Messages(WORDS)
CHANGE = profile_pb2.Profile(profile_id=IDS[0], name="Ui", maturity_limit=12, kids=True, pin="1234")
GOOD: dict[str, list[Message]] = {
    "CreateProfile": [pb.CreateProfileRequest(profile=CHANGE)],
    "UpdateProfile": [
        pb.UpdateProfileRequest(profile=CHANGE, update_mask=FieldMask(paths=paths), owner_pin="4321")
        for paths in (["name", "kids"], ["pin", "maturity_limit"], ["allowed_hours", "time_zone"])
    ],
    "SwitchProfile": [pb.SwitchProfileRequest(profile_id=IDS[0], pin="4321")],
    "RequestTitle": [pb.RequestTitleRequest(title_request=profile_pb2.TitleRequest(release_id=IDS[3], note="Please"))],
    "DecideTitleRequest": [pb.DecideTitleRequestRequest(title_request_id=IDS[2], grant=True, owner_pin="4321")],
}
# Whoever is on a child's profile, or guesses a PIN, meets these too; and a token that a call made void.
ALSO = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAUTHENTICATED}


@pytest.fixture
async def family(people: People, database: Database) -> Family:
    family = await Family.of(people)
    await family.add("Azusa", profile_id=IDS[0])
    await family.add("Ton", profile_id=IDS[1], kids=True)
    await kept_episode(database, release_id=IDS[3], age_rating=18)
    return family


class TestEveryMethod:
    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    @pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
    async def test_answers_or_refuses(self, served: Served, family: Family, method: MethodDescriptor, data: st.DataObject) -> None:
        request = data.draw(st.one_of(messages.of(method.input_type), *map(messages.beside, GOOD.get(method.name, []))))
        call: Any = served.channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")

        code = await call(request.SerializeToString(), metadata=await family.refresh()).code()

        assert code in DOCUMENTED | ALSO
