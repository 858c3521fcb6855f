# find_package(attention CONFIG REQUIRED); link attention::client.
#
# The library is static, so everything it links must be found again.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(OpenSSL)
find_dependency(Protobuf MODULE)  # Debian's package has no config
find_dependency(absl CONFIG)
find_dependency(gRPC CONFIG)

include(${CMAKE_CURRENT_LIST_DIR}/attentionTargets.cmake)
